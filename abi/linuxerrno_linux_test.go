package abi

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An errno of Linux must become the errno of WASI that has its name.
func TestFromLinuxKeepsTheName(t *testing.T) {
	aliases := map[string]string{"EOPNOTSUPP": "ENOTSUP"} // one number in Linux
	for n := range uintptr(200) {
		got := FromLinux(n)
		name := unix.ErrnoName(syscall.Errno(n))
		if alias, ok := aliases[name]; ok {
			name = alias
		}
		switch {
		case n == 0:
			name = "SUCCESS"
		case !hasErrno(name):
			name = "EIO"
		}
		if got.String() != name {
			t.Errorf("errno %d of Linux, %s, became %v", n, name, got)
		}
	}
	if got := FromLinux(1 << 40); got != EIO {
		t.Errorf("a number out of range became %v, want EIO", got)
	}
}

func hasErrno(name string) bool {
	for _, n := range errnoNames {
		if n == name {
			return true
		}
	}
	return false
}
