package master

import (
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Every descriptor that a fork needs is refused once: the fork fails or not, nothing leaks, and the next one works.
func TestForkWithoutRoomForDescriptors(t *testing.T) {
	c := cluster(t, "good", listenOn(tcp(0)))
	r := record(c)
	first := fork(t, c) // compiled, bound and warmed up
	r.of(t, first, EventListening)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	setLimit := func(n uint64) {
		t.Helper()
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer setLimit(old.Cur)
	base := openFDs() - 1 // without the directory that openFDs itself had open
	refused := 0
	for room := range 30 {
		setLimit(uint64(lowestFree(t) + room))
		w, err := c.Fork()
		setLimit(old.Cur)
		if err != nil {
			refused++
			if !errors.Is(err, syscall.EMFILE) {
				t.Errorf("room for %d: %v", room, err)
			}
			if n := openFDs() - 1; n > base {
				t.Fatalf("room for %d: %d descriptors, before %d: %v", room, n, base, err)
			}
			continue
		}
		w.Process().Kill(syscall.SIGKILL)
		r.of(t, w, EventExit)
		<-w.closed
		if !eventually(func() bool { return openFDs()-1 <= base }) {
			t.Fatalf("room for %d: descriptors are left after the end", room)
		}
	}
	if refused < 5 || refused == 30 {
		t.Errorf("%d of 30 forks were refused", refused)
	}
	if got := visit(t, c.Listeners()[0]); got != "1" {
		t.Errorf("worker %q answered", got)
	}
}

// lowestFree is the number that the next descriptor will have.
func lowestFree(t *testing.T) int {
	t.Helper()
	n, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(n)
	return n
}
