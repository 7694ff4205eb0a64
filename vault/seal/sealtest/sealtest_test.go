package sealtest_test

import (
	"encoding/binary"
	"net"
	"testing"

	"coffer/vault/seal/sealtest"
)

// getRandom asks for 8 random bytes.
var getRandom = []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 8}

func TestTPMLifecycle(t *testing.T) {
	tpm := sealtest.StartTPM(t)
	if n := len(tpm.Command(getRandom)); n != 10+2+8 {
		t.Errorf("GetRandom answered %d bytes", n)
	}
	tpm.Restart()
	tpm.Clear()
	if tag := binary.BigEndian.Uint16(tpm.Command(getRandom)); tag != 0x8001 {
		t.Errorf("tag %#x after Clear", tag)
	}
	tpm.Stop()
	tpm.Stop()
	if c, err := net.Dial("unix", tpm.Socket()); err == nil {
		c.Close()
		t.Error("a stopped TPM takes connections")
	}
}
