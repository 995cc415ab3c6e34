CREATE TYPE kind AS ENUM ('part', 'tool', 'raw material');
CREATE TABLE warehouses (id serial PRIMARY KEY, code text UNIQUE NOT NULL, labels text[] NOT NULL);
CREATE TABLE items (
    id serial PRIMARY KEY,
    warehouse_id integer NOT NULL REFERENCES warehouses,
    name text NOT NULL,
    kind kind NOT NULL,
    price numeric(12, 3) NOT NULL,
    on_hand integer NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}',
    photo bytea,
    counted_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE movements (
    id bigserial PRIMARY KEY,
    item_id integer NOT NULL REFERENCES items,
    change integer NOT NULL,
    reason text,
    batch uuid NOT NULL DEFAULT gen_random_uuid(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (change <> 0)
);
INSERT INTO warehouses (code, labels)
SELECT 'W' || n, ARRAY['zone ' || n, 'a "quoted" one', 'NULL'] FROM generate_series(1, 8) AS n;
INSERT INTO items (warehouse_id, name, kind, price, on_hand, attributes, photo)
SELECT w.id, 'Item ' || w.id || '/' || n, (ARRAY['part', 'tool', 'raw material']::kind[])[1 + n % 3],
    n * 1.125, 10 * n, jsonb_build_object('weight', n * 0.5, 'tags', ARRAY['x', 'y']),
    decode(md5(w.id || '/' || n), 'hex')
FROM warehouses w, generate_series(1, 6) AS n;
