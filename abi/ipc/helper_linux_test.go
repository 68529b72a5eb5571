package ipc

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// newPair is a channel whose ends are closed after the test.
func newPair(tb testing.TB) (master, worker *FD) {
	tb.Helper()
	master, worker, err := Pair()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		master.Close()
		worker.Close()
	})
	return master, worker
}

// newFiles makes n files that fstat tells apart.
func newFiles(tb testing.TB, n int) []*FD {
	tb.Helper()
	files := make([]*FD, n)
	for i := range files {
		fd, err := unix.MemfdCreate(fmt.Sprint("file ", i), unix.MFD_CLOEXEC)
		if err != nil {
			tb.Fatal(err)
		}
		files[i] = NewFD(fd)
	}
	tb.Cleanup(func() { CloseAll(files) })
	return files
}

// inode identifies the file behind a descriptor.
func inode(tb testing.TB, f *FD) uint64 {
	tb.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(f.Int(), &st); err != nil {
		tb.Fatal(err)
	}
	return st.Ino
}

// openDescriptors is how many descriptors the process has open.
func openDescriptors(tb testing.TB) int {
	tb.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(all)
}

// sendRaw does one sendmsg of bytes and descriptors that no Writer might send, and lets the caller keep fds.
func sendRaw(tb testing.TB, socket *FD, b []byte, fds ...*FD) {
	tb.Helper()
	var oob []byte
	if len(fds) > 0 {
		numbers := make([]int, len(fds))
		for i, f := range fds {
			numbers[i] = f.Int()
		}
		oob = unix.UnixRights(numbers...)
	}
	n, err := unix.SendmsgN(socket.Int(), b, oob, nil, unix.MSG_NOSIGNAL)
	if err != nil || n != len(b) {
		tb.Fatalf("sent %d bytes of %d: %v", n, len(b), err)
	}
}

// frame is a frame's bytes; what the header says of descriptors need not be true.
func frame(kind abi.Kind, fds int, body string) []byte {
	h := abi.Header{Kind: kind, FDs: uint16(fds), Length: uint32(len(body))}
	switch kind {
	case abi.KindListen, abi.KindListenDone, abi.KindPing, abi.KindPong:
		h.Seq = 1
	}
	return append(h.AppendTo(nil), body...)
}

// inChild runs the rest of the test in a process of its own, for what it does to the process. It answers false in the
// parent, where the child has then passed.
func inChild(t *testing.T) bool {
	t.Helper()
	const mark = "IPC_TEST_IN_CHILD"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=60s")
	// The race detector would have every child wait a second at its exit.
	cmd.Env = append(os.Environ(), mark+"="+t.Name(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("no tests to run")) {
		t.Fatalf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

// fillTable leaves the process room for exactly n more descriptors, until the function that it answers is called.
func fillTable(t *testing.T, n int) (empty func()) {
	t.Helper()
	limit := unix.Rlimit{Cur: 200, Max: 200}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var fillers []int
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
		if err == unix.EMFILE {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fillers = append(fillers, fd)
	}
	for _, fd := range fillers[:n] {
		unix.Close(fd)
	}
	return func() {
		for _, fd := range fillers[n:] {
			unix.Close(fd)
		}
	}
}
