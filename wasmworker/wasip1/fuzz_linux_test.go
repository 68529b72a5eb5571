package wasip1

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// reader takes numbers off a fuzzer's input.
type reader struct{ b []byte }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		return 0
	}
	b := r.b[0]
	r.b = r.b[1:]
	return b
}

// edges are numbers at which checks tend to be wrong.
var edges = [...]uint64{
	0, 1, memorySize, memorySize - 1, memorySize - 4, memorySize - 8, memorySize - eventSize, memorySize - subscriptionSize,
	memorySize / 8, memorySize / eventSize, memorySize / subscriptionSize, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1<<32 - 4,
	1<<32 - memorySize, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1, 1 << 29, 1<<29 + 1, maxIovecs, maxIovecs + 1, maxSubscriptions,
}

// number is a parameter: a small one, a pointer, an edge, or anything.
func (r *reader) number() uint64 {
	switch b := r.byte(); {
	case b < 96:
		return uint64(b)
	case b < 160:
		return uint64(b-96)*16 + uint64(r.byte())*1024
	case b < 240:
		return edges[int(b-160)%len(edges)]
	default:
		var raw [8]byte
		for i := range raw {
			raw[i] = r.byte()
		}
		return binary.LittleEndian.Uint64(raw[:])
	}
}

// wouldWait is what a wait panics with under the fuzzer: it may last for ever.
type wouldWait struct{}

// guard stands around a fuzzed guest's memory. Nothing may write there.
const guard = 4096

// fuzzGuest is a guest with some descriptors, of whose waits none sleeps.
type fuzzGuest struct {
	*testGuest
	all     []byte // memory between its guards
	clients []int
	addr    unix.Sockaddr
	plain   *fakeVirtual
}

func newFuzzGuest(tb testing.TB) *fuzzGuest {
	s, err := New(Config{Args: []string{"app", "-v"}, Env: []string{"K=V"}, MaxFDs: 24})
	check(tb, err)
	g := &fuzzGuest{testGuest: guestOf(tb, s), all: bytes.Repeat([]byte{0x5a}, guard+memorySize+guard), plain: &fakeVirtual{}}
	g.mem = g.all[guard : guard+memorySize : guard+memorySize]
	clear(g.mem)
	g.module.memory.b = g.mem
	s.poller.BeforeWait = func() {
		if n := len(s.poller.listening.entries); n > 0 && s.poller.full {
			tb.Fatalf("it would sleep with %d listeners and %d connections of %d", n, s.connections, s.maxConnections)
		}
		panic(wouldWait{})
	}
	for range 2 {
		raw, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		check(tb, err)
		check(tb, unix.Bind(raw, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
		check(tb, unix.Listen(raw, 16))
		g.addr, err = unix.Getsockname(raw)
		check(tb, err)
		_, errno := s.OpenListener(raw, len(g.clients) == 0, nil)
		ok(tb, errno)
		g.pair()
	}
	_, errno := s.OpenVirtual(g.plain)
	ok(tb, errno)
	var fds [2]int
	check(tb, unix.Pipe2(fds[:], unix.O_CLOEXEC))
	openAs(s, KindPipe, fds[0], rightFdRead|rightPollFdReadwrite|rightFdFdstatSetFlags, fdflagNonblock)
	openAs(s, KindPipe, fds[1], rightFdWrite|rightPollFdReadwrite|rightFdFdstatSetFlags, fdflagNonblock)
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	check(tb, err)
	e := s.entryOf(openAs(s, KindFile, null, 1<<30-1, 0))
	e.seekable = true
	return g
}

func (g *fuzzGuest) pair() {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	check(g.tb, err)
	if g.sys.Room() != 0 {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return
	}
	g.clients = append(g.clients, fds[1])
	g.sys.openAccepted(&Entry{inheriting: streamRights}, fds[0], fdflagNonblock)
}

func (g *fuzzGuest) close() {
	g.sys.Close()
	for _, fd := range g.clients {
		unix.Close(fd)
	}
}

// step does what the fuzzer says: a call, or something that happens to a guest.
func (g *fuzzGuest) step(r *reader) {
	switch op := int(r.byte()); {
	case op < 3*len(imports):
		g.import_(&imports[op%len(imports)], r)
	case op < 160:
		_ = g.sys.Watch(uint32(r.number()), uint32(r.number())&7, r.number())
	case op < 180:
		out := make([]WaitEvent, 1+r.byte()%6)
		g.checkWait(out[:g.sys.Wait(out, 0)])
	case op < 190:
		g.plain.ready = uint32(r.byte()) & (ReadyRead | ReadyWrite)
	case op < 200:
		g.pair()
	case op < 210:
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		check(g.tb, err)
		g.clients = append(g.clients, fd)
		_ = unix.Connect(fd, g.addr) // over loopback it is there at once, or refused by a listener that is closed
	case op < 220:
		g.sys.poller.Nudge()
	case op < 230:
		_, _ = unix.SendmsgN(g.clients[int(r.byte())%len(g.clients)], []byte("hello"), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	case op < 240:
		_ = unix.Shutdown(g.clients[int(r.byte())%len(g.clients)], int(r.byte())%3)
	case op < 241:
		if e, errno := g.sys.table.get(uint32(r.byte())); errno == 0 && e.kind == KindListener {
			e.acc.since, e.acc.began = restAfter, int64(r.byte())*int64(time.Second) // a burst, or none
			g.sys.poller.rest(e)
		}
	case op < 242:
		g.sys.maxConnections = int(r.byte()) % 6
		g.sys.judgeFull()
	case op < 244:
		g.sys.Drain(int64(r.byte())*1e6, r.byte()&1 != 0, func() bool { return true }, func(int) {})
	case op < 250:
		for _, e := range g.sys.table.entries { // a second passes
			if e != nil {
				e.poll.resumes -= 1e9
				e.drain.endedAt -= 1e9
			}
		}
		g.sys.drain.start -= 1e9
	default:
		g.sys.poller.WaitOnce(0)
	}
}

// import_ calls one function of preview 1.
func (g *fuzzGuest) import_(im *struct {
	name, params string
	call         call
}, r *reader,
) {
	f := g.functions[im.name]
	for i := range f.Params {
		g.stack[i] = r.number()
		if f.Params[i] == api.ValueTypeI32 && r.byte()&1 != 0 {
			g.stack[i] |= garbage
		}
	}
	n, nevents := u32(g.stack[2]), u32(g.stack[3])
	f.Call(context.Background(), g.module, g.stack[:])
	if g.stack[0] > uint64(abi.ENOTCAPABLE) {
		g.tb.Fatalf("%s answers %d", im.name, g.stack[0])
	}
	if im.name == "poll_oneoff" && g.stack[0] == 0 && (g.u32(nevents) == 0 || g.u32(nevents) > n) {
		g.tb.Fatalf("%d events for %d subscriptions", g.u32(nevents), n)
	}
}

func (g *fuzzGuest) checkWait(out []WaitEvent) {
	for i, ev := range out {
		if ev.Ready == 0 || slices.ContainsFunc(out[:i], func(other WaitEvent) bool { return other.Fd == ev.Fd }) {
			g.tb.Fatalf("events %+v", out)
		}
		e, errno := g.sys.table.get(ev.Fd)
		if errno != 0 || e.poll.watch == 0 || g.sys.poller.silent(e) {
			g.tb.Fatalf("an event of descriptor %d, %v", ev.Fd, errno)
		}
	}
}

// consistent fails the test when the System's books do not agree.
func (g *fuzzGuest) consistent() {
	s, p := g.sys, g.sys.poller
	open, connections := 0, uint64(0)
	for fd, e := range s.table.entries {
		if e == nil {
			if fd < s.table.lowest {
				g.tb.Fatalf("number %d is free, and the lowest that may be is %d", fd, s.table.lowest)
			}
			continue
		}
		open++
		if e.drain.accepted {
			connections++
		}
		if e.number != uint32(fd) || p.slots[e.poll.slot] != e {
			g.tb.Fatalf("entry %d is number %d in slot %d", fd, e.number, e.poll.slot)
		}
		if e.kind == KindListener && (e.poll.added != 0) != p.listening.has(e) {
			g.tb.Fatalf("listener %d is asked for %d, and on the roster: %v", fd, e.poll.added, p.listening.has(e))
		}
		if e.poll.watch == 0 && (p.known.has(e) || p.stale.has(e)) {
			g.tb.Fatalf("entry %d is not watched, and on a roster", fd)
		}
		lost := e.poll.watch&^e.poll.added != 0 && !e.constant() && !p.silent(e) && !p.stale.has(e) && !p.resting.has(e)
		if lost {
			g.tb.Fatalf("entry %d is watched for %d, in epoll for %d, and not to be mended", fd, e.poll.watch, e.poll.added)
		}
	}
	if p.full != (s.maxConnections > 0 && connections >= uint64(s.maxConnections)) {
		g.tb.Fatalf("%d connections of %d, full: %v", connections, s.maxConnections, p.full)
	}
	if open != s.table.open || connections != s.figures.Connections || open > s.table.limit {
		g.tb.Fatalf("%d open, counted %d; %d connections, counted %d", open, s.table.open, connections, s.figures.Connections)
	}
	for _, r := range []*roster{&p.stale, &p.known, &p.listening, &p.muted, &p.resting} {
		for i, e := range r.entries {
			if e.places[r.which] != int32(i+1) || p.slots[e.poll.slot] != e {
				g.tb.Fatalf("roster %d holds what is closed", r.which)
			}
		}
	}
	for i, b := range g.all[:guard] {
		if b != 0x5a || g.all[guard+memorySize+i] != 0x5a {
			g.tb.Fatal("something was written outside of memory")
		}
	}
}

// run does steps until the input ends.
func (g *fuzzGuest) run(input []byte) {
	defer g.close()
	r := &reader{b: input}
	for i := range 512 { // some memory
		g.mem[i] = r.byte()
	}
	for len(r.b) > 0 {
		switch with := recovered(func() { g.step(r) }).(type) {
		case nil, wouldWait, *sys.ExitError:
		default:
			panic(with)
		}
		g.consistent()
	}
}

// FuzzCall makes random calls on random memory while random things happen: nothing may panic, write outside of memory,
// answer what is no errno, or leave the books wrong.
func FuzzCall(f *testing.F) {
	seed := make([]byte, 512)
	for i := range imports {
		seed = append(seed, byte(i), 3, 1, 100, 0, 1, 1, 0, 2, 0, 100, 3, 0)
	}
	f.Add(seed)
	f.Add([]byte(nil))
	everything := make([]byte, 512)
	for op := range 256 {
		everything = append(everything, byte(op), 1, 0, 1, 0, 1, 0, 1)
	}
	f.Add(everything)
	f.Fuzz(func(t *testing.T, input []byte) { newFuzzGuest(t).run(input[:min(len(input), 4096)]) })
}

// FuzzPollOneoff polls for subscriptions of random bytes.
func FuzzPollOneoff(f *testing.F) {
	g := newGuest(f, Config{})
	g.subscribe(0, readable(0, 1))
	g.subscribe(1, writable(1, 2))
	g.subscribe(2, after(0, 3))
	g.subscribe(3, Subscription{Tag: eventClock, Clock: clockRealtime, Flags: subclockAbsolute, Timeout: 1})
	f.Add(bytes.Clone(g.mem[subsAt:subsAt+4*subscriptionSize]), uint32(0), uint32(256), uint32(4), uint32(8192))
	f.Add(bytes.Clone(g.mem[subsAt:subsAt+4*subscriptionSize]), uint32(0), uint32(0), uint32(4), uint32(4))
	f.Add([]byte{}, uint32(1<<32-1), uint32(1<<32-1), uint32(1<<32-1), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, memory []byte, in, out, n, nevents uint32) {
		g := newFuzzGuest(t)
		defer g.close()
		copy(g.mem, memory)
		var errno Errno
		with := recovered(func() { errno = g.call("poll_oneoff", uint64(in), uint64(out), uint64(n), uint64(nevents)) })
		switch with {
		case nil:
			bad := n == 0 || n > maxSubscriptions || uint64(in)+uint64(n)*subscriptionSize > memorySize ||
				uint64(out)+uint64(n)*eventSize > memorySize || uint64(nevents)+4 > memorySize
			if bad && errno != abi.EINVAL && errno != abi.EFAULT {
				t.Errorf("errno %v for bad parameters", errno)
			}
			if count := uint32(0); errno == 0 {
				if count = g.u32(nevents); count == 0 || count > n {
					t.Errorf("%d events for %d subscriptions", count, n)
				}
			}
		case wouldWait{}:
		default:
			panic(with)
		}
		g.consistent()
	})
}

// FuzzIovecs decodes vectors from random bytes and holds them against a slower way to do it.
func FuzzIovecs(f *testing.F) {
	f.Add([]byte{16, 0, 0, 0, 8, 0, 0, 0}, uint32(0), uint32(1))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0}, uint32(0), uint32(2))
	f.Add([]byte{}, uint32(memorySize), uint32(0))
	f.Add([]byte{}, uint32(1<<32-8), uint32(1))
	f.Add([]byte{}, uint32(0), uint32(1<<29))
	f.Fuzz(func(t *testing.T, memory []byte, ptr, n uint32) {
		s := &System{iovs: make([]unix.Iovec, maxIovecs)}
		mem := make([]byte, memorySize)
		copy(mem, memory)
		v, errno := s.vectors(Memory{&fakeMemory{b: mem}}, ptr, n)
		want := Errno(0)
		if uint64(ptr)+8*uint64(n) > memorySize {
			want = abi.EFAULT
		}
		for i := range min(n, maxIovecs) {
			if want != 0 {
				break
			}
			base, size := binary.LittleEndian.Uint32(mem[ptr+8*i:]), binary.LittleEndian.Uint32(mem[ptr+8*i+4:])
			if uint64(base)+uint64(size) > memorySize {
				want = abi.EFAULT
			} else if v != nil && (v[i].Len != uint64(size) || size > 0 && v[i].Base != &mem[base]) {
				t.Errorf("vector %d is %d bytes", i, v[i].Len)
			}
		}
		if errno != want || errno == 0 && len(v) != int(min(n, maxIovecs)) {
			t.Errorf("%d vectors, %v; want %v", len(v), errno, want)
		}
	})
}
