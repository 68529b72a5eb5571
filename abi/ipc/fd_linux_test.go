package ipc

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFD(t *testing.T) {
	f := newFiles(t, 1)[0]
	n := f.Int()
	dup, err := f.Dup()
	if err != nil {
		t.Fatal(err)
	}
	if inode(t, dup) != inode(t, f) || dup.Int() == n {
		t.Error("Dup answers another file, or the same number")
	}
	if flags, err := unix.FcntlInt(uintptr(dup.Int()), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the duplicate would live on in a child: flags %#x, %v", flags, err)
	}
	CloseAll([]*FD{dup, nil, dup})
	if dup.Int() != -1 {
		t.Error("a closed FD still has a number")
	}
	if taken := f.Take(); taken != n || f.Int() != -1 {
		t.Errorf("Take answers %d, want %d, and leaves %d", taken, n, f.Int())
	}
	f.Close() // no longer ours
	var st unix.Stat_t
	if err := unix.Fstat(n, &st); err != nil {
		t.Error("Close closed what had been taken:", err)
	}
	unix.Close(n)
	if _, err := f.Dup(); !errors.Is(err, unix.EBADF) || !strings.Contains(err.Error(), "fcntl") {
		t.Error(err)
	}
}

func TestLeakedNamesTheLine(t *testing.T) {
	before := len(Leaked())
	f := newFiles(t, 1)[0]
	found := false
	for _, stack := range Leaked() {
		found = found || strings.Contains(stack, "TestLeakedNamesTheLine")
	}
	if !found || len(Leaked()) != before+1 {
		t.Errorf("an open FD is not listed: %d before, now %q", before, Leaked())
	}
	f.Close()
	if n := len(Leaked()); n != before {
		t.Errorf("%d are listed after Close, %d were before", n, before)
	}
}

func TestPair(t *testing.T) {
	for _, f := range func() []*FD { m, w := newPair(t); return []*FD{m, w} }() {
		flags, err := unix.FcntlInt(uintptr(f.Int()), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("an end would wait: flags %#x, %v", flags, err)
		}
		flags, err = unix.FcntlInt(uintptr(f.Int()), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("an end would live on in a child: flags %#x, %v", flags, err)
		}
	}
}

func TestPairWithoutRoom(t *testing.T) {
	if !inChild(t) {
		return
	}
	empty := fillTable(t, 1)
	_, _, err := Pair()
	empty()
	if !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "socketpair") {
		t.Error(err)
	}
}
