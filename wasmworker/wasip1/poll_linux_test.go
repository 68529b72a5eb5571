package wasip1

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// Where the tests keep subscriptions and events in guest memory.
const (
	subsAt   = 4096
	eventsAt = 32768
	countAt  = 8
)

// subscribe stores the i-th subscription.
func (g *testGuest) subscribe(i uint32, sub Subscription) {
	b := g.mem[subsAt+i*subscriptionSize:][:subscriptionSize]
	clear(b)
	binary.LittleEndian.PutUint64(b, sub.Userdata)
	b[8] = sub.Tag
	if sub.Tag == eventClock {
		binary.LittleEndian.PutUint32(b[16:], sub.Clock)
		binary.LittleEndian.PutUint64(b[24:], sub.Timeout)
		binary.LittleEndian.PutUint16(b[40:], sub.Flags)
	} else {
		binary.LittleEndian.PutUint32(b[16:], sub.Fd)
	}
}

// poll calls poll_oneoff for the first n subscriptions.
func (g *testGuest) poll(n uint64) []Event {
	g.tb.Helper()
	g.want(0, "poll_oneoff", subsAt, eventsAt, n, countAt)
	evs := make([]Event, g.u32(countAt))
	if len(evs) == 0 || uint64(len(evs)) > n {
		g.tb.Errorf("%d events for %d subscriptions", len(evs), n)
	}
	for i := range evs {
		b := g.mem[eventsAt+i*eventSize:]
		evs[i] = Event{
			Userdata: binary.LittleEndian.Uint64(b), Errno: Errno(binary.LittleEndian.Uint16(b[8:])), Type: b[10],
			Nbytes: binary.LittleEndian.Uint64(b[16:]), Flags: binary.LittleEndian.Uint16(b[24:]),
		}
	}
	return evs
}

// pollFor is poll with subs.
func (g *testGuest) pollFor(subs ...Subscription) []Event {
	g.tb.Helper()
	for i, sub := range subs {
		g.subscribe(uint32(i), sub)
	}
	return g.poll(uint64(len(subs)))
}

func readable(fd uint32, userdata uint64) Subscription {
	return Subscription{Tag: eventFdRead, Fd: fd, Userdata: userdata}
}

func writable(fd uint32, userdata uint64) Subscription {
	return Subscription{Tag: eventFdWrite, Fd: fd, Userdata: userdata}
}

// after is a relative timeout.
func after(d time.Duration, userdata uint64) Subscription {
	return Subscription{Tag: eventClock, Clock: clockMonotonic, Timeout: uint64(d), Userdata: userdata}
}

func TestPollOneoffErrnos(t *testing.T) {
	g := newGuest(t, Config{})
	g.subscribe(0, after(0, 1))
	g.want(abi.EINVAL, "poll_oneoff", subsAt, eventsAt, 0, countAt)
	g.want(abi.EINVAL, "poll_oneoff", subsAt, eventsAt, maxSubscriptions+1, countAt)
	g.want(abi.EINVAL, "poll_oneoff", subsAt, eventsAt, 1<<32-1, countAt)
	g.want(abi.EFAULT, "poll_oneoff", subsAt, eventsAt, maxSubscriptions, countAt)
	g.want(abi.EFAULT, "poll_oneoff", memorySize-subscriptionSize+1, eventsAt, 1, countAt)
	g.want(abi.EFAULT, "poll_oneoff", subsAt, memorySize-eventSize+1, 1, countAt)
	g.want(abi.EFAULT, "poll_oneoff", subsAt, eventsAt, 1, memorySize-3)
	g.want(abi.EFAULT, "poll_oneoff", 1<<32-1, 1<<32-1, 1, 1<<32-1)
	g.subscribe(0, Subscription{Tag: 3})
	g.want(abi.EINVAL, "poll_oneoff", subsAt, eventsAt, 1, countAt)
	g.subscribe(0, Subscription{Tag: 255})
	g.want(abi.EINVAL, "poll_oneoff", subsAt, eventsAt, 1, countAt)
}

func TestEventsMayOverwriteSubscriptions(t *testing.T) {
	g := newGuest(t, Config{})
	for i := range uint32(100) {
		g.subscribe(i, after(0, uint64(i)))
	}
	g.want(0, "poll_oneoff", subsAt, subsAt, 100, subsAt-4)
	if g.u32(subsAt-4) != 100 {
		t.Fatalf("%d events", g.u32(subsAt-4))
	}
	for i := range uint32(100) {
		if got := g.u64(subsAt + i*eventSize); got != uint64(i) {
			t.Fatalf("event %d is for %d", i, got)
		}
	}
}

func TestPollClocks(t *testing.T) {
	g := newGuest(t, Config{})
	wall := func(d time.Duration) uint64 { return uint64(time.Now().Add(d).UnixNano()) }
	mono := func(d time.Duration) uint64 { return uint64(g.sys.poller.Now() + int64(d)) }
	const far = 0 // beside it stands a timeout of an hour, which does not come
	for _, tt := range []struct {
		name  string
		sub   Subscription
		errno Errno
		waits time.Duration // at least
	}{
		{"relative, none", Subscription{Clock: clockMonotonic}, 0, far},
		{"relative, 2 ms", Subscription{Clock: clockMonotonic, Timeout: 2e6}, 0, 2 * time.Millisecond},
		{"relative, a time of day", Subscription{Clock: clockRealtime, Timeout: 2e6}, 0, 2 * time.Millisecond},
		{"absolute, in the past", Subscription{Clock: clockMonotonic, Flags: subclockAbsolute, Timeout: 1}, 0, far},
		{"absolute, at the beginning of time", Subscription{Clock: clockRealtime, Flags: subclockAbsolute}, 0, far},
		{"absolute, in 2 ms", Subscription{Clock: clockMonotonic, Flags: subclockAbsolute, Timeout: mono(2 * time.Millisecond)}, 0, far},
		{"absolute, a time of day in 2 ms", Subscription{Clock: clockRealtime, Flags: subclockAbsolute, Timeout: wall(2 * time.Millisecond)}, 0, far},
		{"absolute, a time of day in the past", Subscription{Clock: clockRealtime, Flags: subclockAbsolute, Timeout: wall(-time.Hour)}, 0, far},
		{"processor time in the past", Subscription{Clock: clockProcess, Flags: subclockAbsolute, Timeout: 1}, 0, far},
		{"processor time never comes to one who sleeps", Subscription{Clock: clockProcess, Timeout: 1}, abi.ENOTSUP, far},
		{"nor does a thread's", Subscription{Clock: clockThread, Flags: subclockAbsolute, Timeout: math.MaxUint64}, abi.ENOTSUP, far},
		{"a clock that does not exist", Subscription{Clock: 4, Timeout: 1}, abi.EINVAL, far},
		{"a flag that does not exist", Subscription{Clock: clockMonotonic, Flags: 2}, abi.EINVAL, far},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g.tb = t
			tt.sub.Userdata = 1 << 60
			start := time.Now()
			evs := g.pollFor(after(time.Hour, 1), tt.sub, Subscription{Clock: clockRealtime, Flags: subclockAbsolute, Timeout: wall(time.Hour)})
			if want := (Event{Userdata: 1 << 60, Type: eventClock, Errno: tt.errno}); len(evs) != 1 || evs[0] != want {
				t.Errorf("events %+v, want %+v", evs, want)
			}
			if d := time.Since(start); d < tt.waits {
				t.Errorf("after %v, want %v", d, tt.waits)
			}
		})
	}
}

func TestPollVeryLateClocks(t *testing.T) {
	g := newGuest(t, Config{})
	for _, sub := range []Subscription{
		{Clock: clockMonotonic, Timeout: math.MaxUint64},
		{Clock: clockMonotonic, Timeout: math.MaxInt64},
		{Clock: clockMonotonic, Flags: subclockAbsolute, Timeout: math.MaxUint64},
		{Clock: clockRealtime, Timeout: math.MaxUint64},
		{Clock: clockRealtime, Flags: subclockAbsolute, Timeout: math.MaxUint64},
		{Clock: clockRealtime, Flags: subclockAbsolute, Timeout: math.MaxInt64},
	} {
		if evs := g.pollFor(sub, after(time.Millisecond, 5)); len(evs) != 1 || evs[0].Userdata != 5 {
			t.Errorf("%+v: events %+v", sub, evs)
		}
	}
}

// An absolute time of day is judged by the clock it was given on, which may be set while the guest waits.
func TestPollJudgesATimeOfDayByItsClock(t *testing.T) {
	t.Run("set back, it comes later", func(t *testing.T) {
		g := newGuest(t, Config{})
		reads := 0
		start := time.Now()
		g.sys.wallTime = func() int64 {
			// The first look sees 5 ms to go. Then the clock is set back by 20 ms.
			if reads++; reads == 1 {
				return 1e9
			}
			return 1e9 + int64(time.Since(start)) - 20e6
		}
		evs := g.pollFor(Subscription{Clock: clockRealtime, Flags: subclockAbsolute, Timeout: 1e9 + 5e6})
		if d := time.Since(start); len(evs) != 1 || evs[0].Errno != 0 || d < 25*time.Millisecond {
			t.Errorf("events %+v after %v", evs, d)
		}
	})
	t.Run("set forward, it comes with the next look", func(t *testing.T) {
		g := newGuest(t, Config{})
		b := newBell(t, g.sys)
		a := newActor(t)
		now := int64(1e9)
		g.sys.wallTime = func() int64 { return now }
		var evs []Event
		polled := a.start(func() {
			evs = g.pollFor(Subscription{Clock: clockRealtime, Flags: subclockAbsolute, Timeout: 3600e9, Userdata: 3})
		})
		a.asleep(t)
		b.ring(t, func() { now = 3600e9 }) // any turn is a look
		await(t, "it comes", polled)
		if len(evs) != 1 || evs[0].Userdata != 3 {
			t.Errorf("events %+v", evs)
		}
	})
	t.Run("set forward, it comes within a second by itself", func(t *testing.T) {
		g := newGuest(t, Config{})
		reads := 0
		g.sys.wallTime = func() int64 {
			if reads++; reads <= 2 {
				return 1e9
			}
			return 3600e9
		}
		start := time.Now()
		evs := g.pollFor(Subscription{Clock: clockRealtime, Flags: subclockAbsolute, Timeout: 3600e9})
		if d := time.Since(start); len(evs) != 1 || d > 5*time.Second {
			t.Errorf("events %+v after %v", evs, d)
		}
	})
}

func TestPollDescriptors(t *testing.T) {
	g := newGuest(t, Config{})
	s := g.sys
	z := newZoo(t, g)
	n := func(fd uint64) uint32 { return uint32(fd) }
	deaf, _ := stream(t, s, fdflagNonblock)
	ok(t, s.FdFdstatSetRights(deaf, rightFdRead, 0))
	full1, _ := stream(t, s, fdflagNonblock)
	full(t, s, full1)
	some, peer := stream(t, s, fdflagNonblock)
	_, err := peer.WriteString("x")
	check(t, err)
	gone, peer := stream(t, s, fdflagNonblock)
	peer.Close()
	shut, _ := stream(t, s, fdflagNonblock)
	ok(t, s.SockShutdown(shut, sdflagRead))
	for _, tt := range []struct {
		name string
		subs []Subscription
		want []Event
	}{
		{"a connection is writable", []Subscription{writable(n(z.stream), 1)}, []Event{{Userdata: 1, Type: eventFdWrite, Nbytes: 1}}},
		{
			"a connection is readable when something has come",
			[]Subscription{readable(n(z.stream), 1), readable(some, 2)},
			[]Event{{Userdata: 2, Type: eventFdRead, Nbytes: 1}},
		},
		{"a full connection is not writable", []Subscription{writable(full1, 1), after(0, 2)}, []Event{{Userdata: 2}}},
		{
			"twice the same subscription is answered twice",
			[]Subscription{readable(some, 1), readable(some, 2)},
			[]Event{{Userdata: 1, Type: eventFdRead, Nbytes: 1}, {Userdata: 2, Type: eventFdRead, Nbytes: 1}},
		},
		{
			"reading and writing of one descriptor",
			[]Subscription{readable(some, 1), writable(some, 2)},
			[]Event{{Userdata: 1, Type: eventFdRead, Nbytes: 1}, {Userdata: 2, Type: eventFdWrite, Nbytes: 1}},
		},
		{
			"only writing of one descriptor",
			[]Subscription{readable(n(z.stream), 1), writable(n(z.stream), 2)},
			[]Event{{Userdata: 2, Type: eventFdWrite, Nbytes: 1}},
		},
		{
			"a peer that is gone",
			[]Subscription{readable(gone, 1), writable(gone, 2)},
			[]Event{{Userdata: 1, Type: eventFdRead, Nbytes: 1, Flags: eventHangup}, {Userdata: 2, Type: eventFdWrite, Nbytes: 1, Flags: eventHangup}},
		},
		{
			"a direction that was shut down has its end to be read",
			[]Subscription{readable(shut, 1)},
			[]Event{{Userdata: 1, Type: eventFdRead, Nbytes: 1}},
		},
		{
			"a file is always ready",
			[]Subscription{readable(n(z.file), 1), writable(n(z.file), 2)},
			[]Event{{Userdata: 1, Type: eventFdRead, Nbytes: 1}, {Userdata: 2, Type: eventFdWrite, Nbytes: 1}},
		},
		{
			"a pipe",
			[]Subscription{readable(n(z.reader), 1), writable(n(z.writer), 2)},
			[]Event{{Userdata: 2, Type: eventFdWrite, Nbytes: 1}},
		},
		{
			"bad ones are events, and do not keep the others back",
			[]Subscription{readable(n(z.closed), 1), readable(some, 2), writable(1<<32-1, 3), readable(deaf, 4)},
			[]Event{
				{Userdata: 1, Errno: abi.EBADF, Type: eventFdRead},
				{Userdata: 2, Type: eventFdRead, Nbytes: 1},
				{Userdata: 3, Errno: abi.EBADF, Type: eventFdWrite},
				{Userdata: 4, Errno: abi.ENOTCAPABLE, Type: eventFdRead},
			},
		},
		{
			"a timeout of none looks at descriptors too",
			[]Subscription{after(0, 1), readable(some, 2)},
			[]Event{{Userdata: 1}, {Userdata: 2, Type: eventFdRead, Nbytes: 1}},
		},
		{
			"a listener without a connection",
			[]Subscription{readable(n(z.listener), 1), writable(n(z.listener), 2), after(0, 3)},
			[]Event{{Userdata: 3}},
		},
		{
			"the inbox when it is not ready",
			[]Subscription{readable(n(z.virtual), 1), writable(n(z.virtual), 2), after(time.Millisecond, 3)},
			[]Event{{Userdata: 3}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g.tb = t
			if got := g.pollFor(tt.subs...); !slices.Equal(got, tt.want) {
				t.Errorf("events\n%+v, want\n%+v", got, tt.want)
			}
		})
	}
}

func TestPollWaits(t *testing.T) {
	g := newGuest(t, Config{})
	s := g.sys
	a := newActor(t)
	b := newBell(t, s)
	fd, peer := stream(t, s, fdflagNonblock)
	other, _ := stream(t, s, 0)
	inbox := &fakeVirtual{}
	virtual, errno := s.OpenVirtual(inbox)
	ok(t, errno)
	listener, addr := openListener(t, s)
	for _, tt := range []struct {
		name   string
		happen func()
		want   uint64
	}{
		{"for bytes", func() { _, _ = peer.WriteString("x") }, 1},
		{"for a connection", func() { dial(t, addr) }, 2},
		{"for what a source brings", func() { b.ring(t, func() { inbox.ready = ReadyRead }) }, 3},
	} {
		t.Run("it waits "+tt.name, func(t *testing.T) {
			g.tb = t
			var evs []Event
			polled := a.start(func() {
				evs = g.pollFor(readable(fd, 1), readable(listener, 2), readable(virtual, 3), readable(other, 4), after(patience, 5))
			})
			a.asleep(t)
			tt.happen()
			await(t, "an event", polled)
			if len(evs) != 1 || evs[0].Userdata != tt.want {
				t.Errorf("events %+v, want one for %d", evs, tt.want)
			}
			inbox.ready = 0
			a.do(func() {
				_, _ = s.FdRead(fd, vec(make([]byte, 9)))
				_, _ = s.SockAccept(listener, 0)
			})
		})
	}
}

// What is ready and not subscribed must neither wake the poll again and again nor hide what is subscribed, even when it
// fills a whole batch of epoll.
func TestPollIsNotHeldUpByOthers(t *testing.T) {
	g := newGuest(t, Config{})
	s := g.sys
	const crowd = 300
	for i := range crowd {
		fd, peer := stream(t, s, 0)
		ok(t, s.Watch(fd, ReadyRead|ReadyWrite, uint64(i)))
		_, err := peer.WriteString("x")
		check(t, err)
	}
	fd, peer := stream(t, s, 0)
	_, err := peer.WriteString("x")
	check(t, err)
	if evs := g.pollFor(readable(fd, 1), after(0, 2)); len(evs) != 2 {
		t.Errorf("events %+v", evs)
	}
	changes := s.poller.changes
	for range 10 {
		g.pollFor(readable(fd, 1), after(0, 2))
	}
	if more := s.poller.changes - changes; more != 0 {
		t.Errorf("%d calls of epoll_ctl although nothing changes", more)
	}
	// The watch comes back whole.
	seen := map[uint64]bool{}
	out := make([]WaitEvent, 64)
	for len(seen) < crowd {
		n := s.Wait(out, 0)
		if n == 0 {
			t.Fatalf("%d of %d watched descriptors are left", len(seen), crowd)
		}
		for _, ev := range out[:n] {
			seen[ev.Token] = true
		}
	}
}

func TestPollWithTheMostSubscriptions(t *testing.T) {
	s := newSystem(t, Config{})
	fd, _ := stream(t, s, 0)
	s.subs = make([]Subscription, maxSubscriptions)
	for i := range s.subs {
		s.subs[i] = writable(fd, uint64(i))
	}
	count := uint64(0)
	ok(t, s.Poll(func(ev Event) {
		if ev.Userdata != count {
			t.Fatalf("event %d is for %d", count, ev.Userdata)
		}
		count++
	}))
	if count != maxSubscriptions {
		t.Errorf("%d events", count)
	}
	s.subs = append(s.subs, s.subs[0])
	wantErrno(t, s.Poll(func(Event) {}), abi.EINVAL)
}

// What the kernel has no room to wait for is told in the event: ready would make the guest read, find nothing and poll
// again.
func TestPollTellsWhatEpollRefuses(t *testing.T) {
	g := newGuest(t, Config{})
	fd, _ := file(t, g.sys, "")
	e, _ := g.sys.table.get(fd)
	e.kind = KindStream // epoll refuses a regular file
	if evs := g.pollFor(readable(fd, 1)); len(evs) != 1 || evs[0].Errno != abi.EPERM {
		t.Errorf("events %+v", evs)
	}
}
