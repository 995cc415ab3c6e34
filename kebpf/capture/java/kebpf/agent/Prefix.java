package kebpf.agent;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;

/**
 * Puts a call before the first instruction of one method of a class file (JVMS chapter 4).
 *
 * <p>The rest of the method stays byte for byte: what is put before it is a multiple of four bytes
 * long (so that switches stay aligned), and ends with an instruction of one byte that has a stack
 * map frame, so that the offsets of the method's own frames stay right.
 */
final class Prefix {
    static final String HOOKS = "sun/security/ssl/KebpfTls";

    private static final int UTF8 = 1, INTEGER = 3, LONG = 5, DOUBLE = 6, CLASS = 7, STRING = 8;
    private static final int FIELD = 9, METHOD = 10, NAME_AND_TYPE = 12, HANDLE = 15;
    private static final int METHOD_TYPE = 16, MODULE = 19, PACKAGE = 20;

    private final Target target;
    private final DataInputStream in;
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final DataOutputStream out = new DataOutputStream(bytes);
    private final ByteArrayOutputStream added = new ByteArrayOutputStream();
    private final DataOutputStream pool = new DataOutputStream(added);
    private String[] texts;
    private int count;
    private int thisClass;
    private int ownerField;
    private boolean isDone;

    private Prefix(Target target, byte[] classFile) {
        this.target = target;
        this.in = new DataInputStream(new ByteArrayInputStream(classFile));
    }

    /** The class file with the call; null where it has no such method, or not the field needed. */
    static byte[] put(Target target, byte[] classFile) throws IOException {
        Prefix prefix = new Prefix(target, classFile);
        return prefix.rewrite() ? prefix.bytes.toByteArray() : null;
    }

    private boolean rewrite() throws IOException {
        int magic = in.readInt(), minor = in.readUnsignedShort(), major = in.readUnsignedShort();
        byte[] constants = readPool();
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        DataOutputStream rest = new DataOutputStream(body);
        copyHead(rest);
        copyFields(rest);
        if (target.ownerType != null && ownerField == 0) {
            return false;
        }
        copyMethods(rest);
        copyAttributes(rest);
        out.writeInt(magic);
        out.writeShort(minor);
        out.writeShort(major);
        out.writeShort(count);
        out.write(constants);
        out.write(added.toByteArray());
        out.write(body.toByteArray());
        return isDone;
    }

    private byte[] readPool() throws IOException {
        count = in.readUnsignedShort();
        texts = new String[count];
        ByteArrayOutputStream copy = new ByteArrayOutputStream();
        DataOutputStream constants = new DataOutputStream(copy);
        for (int index = 1; index < count; index++) {
            int tag = in.readUnsignedByte();
            constants.writeByte(tag);
            if (tag == UTF8) {
                texts[index] = in.readUTF();
                constants.writeUTF(texts[index]);
            } else {
                copy(constants, sizeOf(tag));
                index += tag == LONG || tag == DOUBLE ? 1 : 0;
            }
        }
        return copy.toByteArray();
    }

    private static int sizeOf(int tag) throws IOException {
        switch (tag) {
            case CLASS: case STRING: case METHOD_TYPE: case MODULE: case PACKAGE:
                return 2;
            case HANDLE:
                return 3;
            case LONG: case DOUBLE:
                return 8;
            default:
                if (tag < INTEGER || tag > PACKAGE) {
                    throw new IOException("constant of unknown kind " + tag);
                }
                return 4;
        }
    }

    private void copyHead(DataOutputStream rest) throws IOException {
        rest.writeShort(in.readUnsignedShort());
        thisClass = in.readUnsignedShort();
        rest.writeShort(thisClass);
        rest.writeShort(in.readUnsignedShort());
        int interfaces = in.readUnsignedShort();
        rest.writeShort(interfaces);
        copy(rest, 2 * interfaces);
    }

    private void copyFields(DataOutputStream rest) throws IOException {
        int fields = in.readUnsignedShort();
        rest.writeShort(fields);
        for (int field = 0; field < fields; field++) {
            rest.writeShort(in.readUnsignedShort());
            int name = in.readUnsignedShort(), type = in.readUnsignedShort();
            rest.writeShort(name);
            rest.writeShort(type);
            if (ownerField == 0 && texts[type].equals(target.ownerType)) {
                ownerField = addPair(FIELD, thisClass, addPair(NAME_AND_TYPE, name, type));
            }
            copyAttributes(rest);
        }
    }

    private void copyMethods(DataOutputStream rest) throws IOException {
        int methods = in.readUnsignedShort();
        rest.writeShort(methods);
        for (int method = 0; method < methods; method++) {
            rest.writeShort(in.readUnsignedShort());
            int name = in.readUnsignedShort(), type = in.readUnsignedShort();
            rest.writeShort(name);
            rest.writeShort(type);
            if (texts[name].equals(target.method) && texts[type].equals(target.type)) {
                changeMethod(rest);
            } else {
                copyAttributes(rest);
            }
        }
    }

    private void changeMethod(DataOutputStream rest) throws IOException {
        int attributes = in.readUnsignedShort();
        rest.writeShort(attributes);
        for (int attribute = 0; attribute < attributes; attribute++) {
            int name = in.readUnsignedShort();
            rest.writeShort(name);
            if (texts[name].equals("Code")) {
                in.readInt();
                byte[] code = changeCode();
                rest.writeInt(code.length);
                rest.write(code);
                isDone = true;
            } else {
                int size = in.readInt();
                rest.writeInt(size);
                copy(rest, size);
            }
        }
    }

    private byte[] changeCode() throws IOException {
        byte[] prefix = makePrefix();
        ByteArrayOutputStream made = new ByteArrayOutputStream();
        DataOutputStream code = new DataOutputStream(made);
        code.writeShort(Math.max(in.readUnsignedShort(), target.stack));
        code.writeShort(in.readUnsignedShort());
        int size = in.readInt();
        code.writeInt(prefix.length + size);
        code.write(prefix);
        copy(code, size);
        int handlers = in.readUnsignedShort();
        code.writeShort(handlers);
        for (int handler = 0; handler < handlers; handler++) {
            for (int bound = 0; bound < 3; bound++) {
                code.writeShort(in.readUnsignedShort() + prefix.length);
            }
            code.writeShort(in.readUnsignedShort());
        }
        changeCodeAttributes(code, prefix.length);
        return made.toByteArray();
    }

    /** Of the code's attributes those that say where lines and variables are, and the frames. */
    private void changeCodeAttributes(DataOutputStream code, int shift) throws IOException {
        ByteArrayOutputStream made = new ByteArrayOutputStream();
        DataOutputStream kept = new DataOutputStream(made);
        int attributes = in.readUnsignedShort(), keptCount = 0;
        byte[] frames = {0, 0};
        for (int attribute = 0; attribute < attributes; attribute++) {
            int name = in.readUnsignedShort();
            byte[] content = new byte[in.readInt()];
            in.readFully(content);
            int step = texts[name].equals("LineNumberTable") ? 4
                    : texts[name].startsWith("LocalVariableT") ? 10 : 0;
            if (texts[name].equals("StackMapTable")) {
                frames = content;
            } else if (step > 0) {
                kept.writeShort(name);
                kept.writeInt(content.length);
                kept.write(shiftEach(content, step, shift));
                keptCount++;
            } // others are of no use to the machine
        }
        code.writeShort(keptCount + 1);
        code.write(made.toByteArray());
        byte[] first = makeFrame(shift - 1);
        code.writeShort(addText("StackMapTable"));
        code.writeInt(frames.length + first.length);
        code.writeShort((((frames[0] & 0xff) << 8) | (frames[1] & 0xff)) + 1);
        code.write(first);
        code.write(frames, 2, frames.length - 2);
    }

    private static byte[] shiftEach(byte[] table, int step, int shift) {
        for (int at = 2; at + step <= table.length; at += step) {
            int place = (((table[at] & 0xff) << 8) | (table[at + 1] & 0xff)) + shift;
            table[at] = (byte) (place >> 8);
            table[at + 1] = (byte) place;
        }
        return table;
    }

    private byte[] makeFrame(int place) throws IOException {
        ByteArrayOutputStream made = new ByteArrayOutputStream();
        DataOutputStream frame = new DataOutputStream(made);
        frame.writeByte(target.result == Target.DONE ? 251 : 247); // same_frame_extended, or
        frame.writeShort(place); // same_locals_1_stack_item_frame_extended
        if (target.result == Target.COUNT) {
            frame.writeByte(1); // ITEM_Integer
        } else if (target.result == Target.RESULT) {
            frame.writeByte(7); // ITEM_Object
            frame.writeShort(addPair(CLASS, addText("javax/net/ssl/SSLEngineResult"), -1));
        }
        return made.toByteArray();
    }

    /** Arguments, the call, and unless it answers "do it yourself" a return. */
    private byte[] makePrefix() throws IOException {
        ByteArrayOutputStream made = new ByteArrayOutputStream();
        DataOutputStream code = new DataOutputStream(made);
        code.writeByte(0x2a); // aload_0
        if (target.ownerType != null) {
            code.writeByte(0x2a);
            code.writeByte(0xb4); // getfield
            code.writeShort(ownerField);
        }
        code.write(target.arguments);
        code.writeByte(0xb8); // invokestatic
        int name = addText(target.hook), type = addText(target.hookType);
        int hooks = addPair(CLASS, addText(HOOKS), -1);
        code.writeShort(addPair(METHOD, hooks, addPair(NAME_AND_TYPE, name, type)));
        if (target.result == Target.DONE) {
            code.write(new byte[] {(byte) 0x99, 0, 4, (byte) 0xb1, 0}); // ifeq, return, nop
        } else if (target.result == Target.RESULT) {
            code.write(new byte[] {0x59, (byte) 0xc6, 0, 4}); // dup, ifnull
            code.write(new byte[] {(byte) 0xb0, 0x57}); // areturn, pop
        } else {
            code.write(new byte[] {0x59, 0x13}); // dup, ldc_w
            pool.writeByte(INTEGER);
            pool.writeInt(Integer.MIN_VALUE);
            code.writeShort(count++);
            code.write(new byte[] {(byte) 0x9f, 0, 4, (byte) 0xac, 0x57}); // if_icmpeq, ireturn, pop
        }
        byte[] padded = new byte[(made.size() + 3) & ~3]; // nop before it
        System.arraycopy(made.toByteArray(), 0, padded, padded.length - made.size(), made.size());
        return padded;
    }

    private int addText(String text) throws IOException {
        pool.writeByte(UTF8);
        pool.writeUTF(text);
        return count++;
    }

    private int addPair(int tag, int first, int second) throws IOException {
        pool.writeByte(tag);
        pool.writeShort(first);
        if (second >= 0) {
            pool.writeShort(second);
        }
        return count++;
    }

    private void copyAttributes(DataOutputStream rest) throws IOException {
        int attributes = in.readUnsignedShort();
        rest.writeShort(attributes);
        for (int attribute = 0; attribute < attributes; attribute++) {
            rest.writeShort(in.readUnsignedShort());
            int size = in.readInt();
            rest.writeInt(size);
            copy(rest, size);
        }
    }

    private void copy(DataOutputStream to, int size) throws IOException {
        byte[] some = new byte[size];
        in.readFully(some);
        to.write(some);
    }
}
