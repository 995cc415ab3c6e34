package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
)

// deep gives the note back reversed, by a connection of the program with itself, both ends of
// which read and write from a fresh goroutine at the end of a deep recursion: the stacks are
// copied to another place between, and while, crypto/tls works on them.
func deep(ctx context.Context, number int, note string) (string, error) {
	here, there := net.Pipe()
	if number%2 == 0 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer listener.Close()
		if here, err = net.Dial("tcp", listener.Addr().String()); err != nil {
			return "", err
		}
		if there, err = listener.Accept(); err != nil {
			return "", err
		}
	}
	defer here.Close()
	defer there.Close()
	server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{own}})
	client := tls.Client(here, &tls.Config{InsecureSkipVerify: true})
	failed := make(chan error, 1)
	go func() { failed <- grow(1+number%200, func() error { return turn(server, len(note)) }) }()
	answer := make([]byte, len(note))
	done := make(chan error, 1)
	go func() {
		done <- grow(1+number%50, func() error {
			if _, err := io.Copy(client, bytes.NewReader([]byte(note))); err != nil {
				return err
			}
			return grow(400, func() error {
				_, err := io.ReadFull(client, answer)
				return err
			})
		})
	}()
	if err := <-done; err != nil {
		return "", err
	}
	return string(answer), <-failed
}

func turn(connection *tls.Conn, size int) error {
	note := make([]byte, size)
	if err := grow(300, func() error { _, err := io.ReadFull(connection, note); return err }); err != nil {
		return err
	}
	backwards, _ := reverse(context.Background(), 0, string(note))
	return grow(600, func() error { _, err := connection.Write([]byte(backwards)); return err })
}

// grow calls at a depth of so many frames of a kilobyte.
func grow(depth int, call func() error) error {
	var frame [1024]byte
	frame[depth%len(frame)] = byte(depth)
	if depth == 0 {
		return call()
	}
	err := grow(depth-1, call)
	if frame[depth%len(frame)] != byte(depth) {
		panic("a frame of the stack has changed")
	}
	return err
}

var own = newCertificate()

func newCertificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}
}
