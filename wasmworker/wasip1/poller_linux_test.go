package wasip1

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A collection must not wait for a thread that waits for the kernel: through RawSyscall it does, for as long as nothing
// happens (measured: 247 s).
func TestACollectionDoesNotWaitForAWaitingThread(t *testing.T) {
	s := newSystem(t, Config{})
	b := newBell(t, s)
	a := newActor(t)
	inbox := &fakeVirtual{}
	virtual, errno := s.OpenVirtual(inbox)
	ok(t, errno)
	ok(t, s.Watch(virtual, ReadyRead, 1))
	waited := a.start(func() { waitAll(t, s, 1, s.poller.Now()+int64(4*time.Second)) }) // so that a failing test ends
	a.asleep(t)
	start := time.Now()
	runtime.GC()
	if d := time.Since(start); d > time.Second {
		t.Errorf("the collection took %v", d)
	}
	b.ring(t, func() { inbox.ready = ReadyRead })
	await(t, "the wait ends", waited)
}

// A source may close a descriptor that the same batch of epoll reports, and another may take its place.
func TestAnEventOfAClosedDescriptorIsNotItsSuccessors(t *testing.T) {
	s := newSystem(t, Config{})
	b := newBell(t, s)
	first, peer := stream(t, s, 0)
	ok(t, s.Watch(first, ReadyRead, 1))
	_, err := peer.WriteString("x")
	check(t, err)
	b.start(t, func() {
		ok(t, s.FdClose(first))
		second, _ := stream(t, s, 0)
		if second != first {
			t.Errorf("the successor is %d, not %d", second, first)
		}
		ok(t, s.Watch(second, ReadyRead, 2))
	})
	if got := waitAll(t, s, 8, s.poller.Now()+int64(time.Millisecond)); len(got) != 0 {
		t.Errorf("events %+v", got)
	}
	if len(s.poller.slots) != 1 {
		t.Errorf("%d slots for one descriptor at a time", len(s.poller.slots))
	}
}

func TestGenerationsTellEntriesOfASlotApart(t *testing.T) {
	s := newSystem(t, Config{})
	seen := map[[2]uint32]bool{}
	for i := range 100 {
		fds := make([]uint32, 1+i%3)
		for j := range fds {
			fds[j], _ = stream(t, s, 0)
			e, _ := s.table.get(fds[j])
			key := [2]uint32{e.poll.slot, e.poll.gen}
			if seen[key] {
				t.Fatalf("slot %d, generation %d comes twice", key[0], key[1])
			}
			seen[key] = true
		}
		for _, fd := range fds { // in the order of opening: pools are stacks
			ok(t, s.FdClose(fd))
		}
	}
}

// Interest is lazy: what is registered stays so, and a wait costs the system call that waits and no more.
func TestWaitsCostNoEpollCtl(t *testing.T) {
	s := newSystem(t, Config{})
	g := guestOf(t, s)
	const conns = 200
	subs := make([]Subscription, 0, conns+1)
	for range conns {
		fd, _ := stream(t, s, fdflagNonblock)
		subs = append(subs, readable(fd, uint64(fd)))
	}
	listener, _ := openListener(t, s)
	subs = append(subs, readable(listener, 1000), after(time.Microsecond, 1001))
	g.pollFor(subs...)
	changes := s.poller.changes
	if changes != conns+1 {
		t.Errorf("%d calls of epoll_ctl for the first poll of %d descriptors", changes, conns+1)
	}
	for range 100 {
		g.pollFor(subs...)
	}
	for i := range uint32(conns) {
		ok(t, s.Watch(i, ReadyRead, 0))
	}
	ok(t, s.Watch(listener, ReadyRead, 0))
	for range 100 {
		waitAll(t, s, 8, s.poller.Now()+1000)
	}
	if more := s.poller.changes - changes; more != 0 {
		t.Errorf("%d calls of epoll_ctl although nothing changes", more)
	}
}

func TestAccumulatedInterestIsShedWhenItFires(t *testing.T) {
	s := newSystem(t, Config{})
	g := guestOf(t, s)
	fd, peer := stream(t, s, fdflagNonblock)
	g.pollFor(readable(fd, 1), after(0, 2))
	_, err := peer.WriteString("x")
	check(t, err)
	for range 10 { // nobody waits for it any more: it must not wake the others for ever
		g.pollFor(after(time.Microsecond, 3))
	}
	if e, _ := s.table.get(fd); e.poll.added != 0 {
		t.Errorf("epoll still reports %d", e.poll.added)
	}
	if evs := g.pollFor(readable(fd, 1)); len(evs) != 1 {
		t.Errorf("events %+v", evs)
	}
}

func TestSources(t *testing.T) {
	s := newSystem(t, Config{})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	check(t, err)
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	var got uint32
	if err := s.poller.AddSource(-1, nil); err == nil {
		t.Error("a descriptor that is not open is a source")
	}
	check(t, s.poller.AddSource(fds[0], func(bits uint32) { got = bits }))
	turn := func(want uint32) {
		t.Helper()
		got = 0
		s.poller.WaitOnce(0)
		if got != want {
			t.Errorf("ready for %d, want %d", got, want)
		}
	}
	turn(0)
	check(t, s.poller.SetSource(fds[0], ReadyRead|ReadyWrite))
	turn(ReadyWrite)
	_, err = unix.Write(fds[1], []byte("x"))
	check(t, err)
	turn(ReadyRead | ReadyWrite)
	check(t, s.poller.SetSource(fds[0], ReadyRead))
	turn(ReadyRead)
	if err := s.poller.SetSource(fds[1], ReadyRead); err == nil {
		t.Error("what was not added is a source")
	}
}

func TestHooksAreCalledAroundWaitsAndFiles(t *testing.T) {
	s := newSystem(t, Config{})
	log := ""
	note := func(what string) func() { return func() { log += what } }
	p := s.poller
	p.BeforeWait, p.AfterWait, p.BeforeFile, p.AfterFile = note("wait "), note("waited "), note("file "), note("filed ")
	p.WaitOnce(0)
	if log != "" {
		t.Errorf("a look is %q", log)
	}
	p.WaitOnce(p.Now() + 1)
	if log != "wait waited " {
		t.Errorf("a wait is %q", log)
	}
	log = ""
	fd, _ := file(t, s, "x")
	_, errno := s.FdRead(fd, vec(make([]byte, 1)))
	ok(t, errno)
	if log != "file filed " {
		t.Errorf("a read of a file is %q", log)
	}
}

func TestClosingTwiceClosesNothingElse(t *testing.T) {
	s, err := New(Config{})
	check(t, err)
	ep := s.poller.ep
	s.Close()
	other, err := unix.FcntlInt(uintptr(1), unix.F_DUPFD_CLOEXEC, ep)
	check(t, err)
	defer unix.Close(other)
	s.Close()
	if _, err := unix.FcntlInt(uintptr(other), unix.F_GETFD, 0); err != nil {
		t.Errorf("the second close has closed a stranger: %v", err)
	}
}
