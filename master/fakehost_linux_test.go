package master

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// The test binary plays the host process: the name of the module, which ps would show, says which one. Roles are
// whole processes that speak the real protocol, some of them wrongly. A role that no test uses fails the run.

var roles = map[string]func(*fake){
	"good": func(f *fake) { f.start(); f.obey() },

	// Before hello.
	"dies-at-once": func(*fake) { quit(7) },
	"says-nothing": func(f *fake) { f.untilKilled() }, // select {} would be a deadlock, and exit 2
	"other-build": func(f *fake) {
		f.control(abi.KindHello, 0, abi.Hello{Protocol: abi.Protocol, Build: "0.0.0-other"})
		f.untilKilled()
	},
	"no-hello": func(f *fake) { f.control(abi.KindOnline, 0, nil); f.untilKilled() },

	// The start.
	"bad-start": func(f *fake) {
		f.configure()
		f.control(abi.KindFault, 0, abi.Fault{Text: "no such import", Stack: "f1\nf2", Reason: abi.FaultStart})
		unix.Shutdown(3, unix.SHUT_WR)
		for f.in.Fill(3) != io.EOF { // until the master has closed its end as well
			pollFor(unix.POLLIN)
		}
		quit(1)
	},
	"listen-before-online": func(f *fake) {
		f.configure()
		f.control(abi.KindListen, 1, abi.Listen{Address: abi.Address{Network: "tcp", Host: "127.0.0.1"}})
		f.untilKilled()
	},
	"slow-start": func(f *fake) { f.configure(); f.next(); f.untilKilled() },

	// Frames that are none.
	"garbage":      func(f *fake) { f.start(); f.raw(bytes.Repeat([]byte("not a frame "), 100)); f.untilKilled() },
	"unknown-kind": func(f *fake) { f.start(); f.raw(abi.Header{Kind: 200}.AppendTo(nil)); f.untilKilled() },
	"master-kind":  func(f *fake) { f.start(); f.raw(abi.Header{Kind: abi.KindNudge}.AppendTo(nil)); f.untilKilled() },
	"flags": func(f *fake) {
		f.start()
		f.raw(abi.Header{Kind: abi.KindLeaving, Flags: 1}.AppendTo(nil))
		f.untilKilled()
	},
	"oversize": func(f *fake) {
		f.start()
		f.raw(abi.Header{Kind: abi.KindMessage, Length: 1 << 30}.AppendTo(nil))
		f.untilKilled()
	},
	"wrong-fd-count": func(f *fake) {
		f.start()
		f.raw(abi.Header{Kind: abi.KindMessage, FDs: 2}.AppendTo(nil))
		f.untilKilled()
	},
	"bad-json": func(f *fake) {
		f.start()
		body := []byte(`{"errno": `)
		f.raw(append(abi.Header{Kind: abi.KindFault, Length: uint32(len(body))}.AppendTo(nil), body...))
		f.untilKilled()
	},
	"unasked-fds": func(f *fake) {
		f.start()
		frame := abi.Header{Kind: abi.KindLeaving}.AppendTo(nil)
		check(unix.Sendmsg(3, frame, unix.UnixRights(0, 1), nil, 0))
		f.untilKilled()
	},
	"truncated": func(f *fake) {
		f.start()
		f.raw(abi.Header{Kind: abi.KindMessage, Length: 100}.AppendTo(nil))
		unix.Shutdown(3, unix.SHUT_WR)
		f.untilKilled()
	},

	// Frames at the wrong time.
	"plays-the-master": func(f *fake) {
		f.start()
		f.control(abi.KindRequest, 1, abi.Request{Op: abi.OpFork})
		f.untilKilled()
	},
	"posts": func(f *fake) {
		f.start()
		body := abi.AppendPost(nil, 2, []byte("hello"))
		f.raw(append(abi.Header{Kind: abi.KindPost, Length: uint32(len(body))}.AppendTo(nil), body...))
		f.untilKilled()
	},
	"forged-listening": func(f *fake) {
		f.start()
		f.control(abi.KindListening, 0, abi.Listening{Address: abi.Address{Network: "tcp4", Host: "6.6.6.6", Port: 666}, Fd: -1})
		f.untilKilled()
	},
	"listening-twice": func(f *fake) {
		f.start()
		f.control(abi.KindListening, 0, abi.Listening{Address: f.config.Preopens[0].Address, Fd: -1})
		f.untilKilled()
	},
	"unasked-pong":    func(f *fake) { f.start(); f.control(abi.KindPong, 77, nil); f.untilKilled() },
	"unasked-drained": func(f *fake) { f.start(); f.control(abi.KindDrained, 0, abi.Drained{}); f.untilKilled() },
	"hello-twice":     func(f *fake) { f.start(); f.control(abi.KindHello, 0, ipc.OurHello()); f.untilKilled() },
	"after-fault": func(f *fake) {
		f.start()
		f.control(abi.KindFault, 0, abi.Fault{Text: "first", Reason: abi.FaultTrap})
		f.message("still here")
		f.untilKilled()
	},

	// Not leaving, not reading, not stopping.
	"ignores-disconnect": func(f *fake) { f.start(); f.untilKilled() },
	"ignores-term":       func(f *fake) { signalIgnore(); f.start(); f.message("ready"); f.untilKilled() },
	"closes-channel":     func(f *fake) { f.start(); unix.Close(3); f.untilKilled() },
	"passes-channel-on": func(f *fake) {
		f.start()
		f.message("before")
		leaveBehind()
		quit(5)
	},
	"never-reads": func(f *fake) { f.start(); f.message("ready"); f.untilKilled() },
	"flood": func(f *fake) {
		f.start()
		body := make([]byte, 64<<10)
		for {
			f.messageBytes(body)
		}
	},
	"control-flood": func(f *fake) {
		f.start()
		for seq := uint32(1); ; seq++ {
			f.control(abi.KindListen, seq, abi.Listen{Address: abi.Address{Network: "tcp", Host: "127.0.0.1"}, Backlog: -1})
			f.next()
			f.board.add(abi.BoardCalls, 1)
		}
	},
	"spins": func(f *fake) {
		f.start()
		f.message("ready")
		for i := 0; ; i++ {
		}
	},
}

// compilers are the compile children, chosen in the same way; without one of its own a module gets "".
var compilers = map[string]func(*fake, abi.Compile){
	"": func(f *fake, c abi.Compile) {
		check(os.WriteFile(filepath.Join(c.CacheDir, "code"), []byte("native code"), 0o600))
		f.control(abi.KindCompiled, 0, abi.Report{Kind: abi.KindCommand, Aware: true, Bytes: 3})
	},
	"not-wasm": func(f *fake, c abi.Compile) {
		f.control(abi.KindCompiled, 0, abi.Report{Error: "it is not Wasm: give a .wasm file", Reason: abi.ReasonNotWasm})
	},
	"compile-fault": func(f *fake, c abi.Compile) {
		f.control(abi.KindFault, 0, abi.Fault{Text: "out of memory", Reason: abi.FaultHost})
	},
	"compile-dies":   func(*fake, abi.Compile) { fmt.Fprintln(os.Stderr, "panic: compiler defect"); quit(2) },
	"compile-hangs":  func(f *fake, _ abi.Compile) { f.untilKilled() },
	"compile-breaks": func(f *fake, _ abi.Compile) { f.control(abi.KindOnline, 0, nil); f.untilKilled() },
	"compile-link": func(f *fake, c abi.Compile) {
		check(os.Symlink("/etc/passwd", filepath.Join(c.CacheDir, "code")))
		f.control(abi.KindCompiled, 0, abi.Report{Kind: abi.KindCommand})
	},
	"compile-nothing": func(f *fake, _ abi.Compile) { f.control(abi.KindCompiled, 0, abi.Report{Kind: abi.KindCommand}) },
}

// probers are the processes that find out about the sandbox, chosen in the same way.
var probers = map[string]func(*fake){
	"lacks-landlock": func(f *fake) { f.probed(abi.LayerLandlock, "the kernel has none") },
	"lacks-mdwe":     func(f *fake) { f.probed(abi.LayerMDWE, "needs Linux 6.3") },
	"probe-dies":     func(*fake) { fmt.Fprintln(os.Stderr, "panic: probe defect"); quit(2) },
	"probe-lies":     func(f *fake) { f.probed("", "") },
	"probe-silent":   func(f *fake) { f.control(abi.KindProbed, 0, abi.Probed{}) },
}

// probed answers that every layer is there but one.
func (f *fake) probed(but abi.Layer, why string) {
	var all abi.Probed
	for _, l := range abi.Layers {
		if l == abi.LayerNamespaces || l == abi.LayerPassRights {
			continue // the master finds out about these
		}
		p := abi.ProbedLayer{Layer: l}
		if l == but {
			p.Error = why
		}
		all.Layers = append(all.Layers, p)
	}
	f.control(abi.KindProbed, 0, all)
}

func (f *fake) probe(name string) {
	f.control(abi.KindHello, 0, ipc.OurHello())
	check(ipc.CheckHello(f.next()))
	if k := f.next().Kind; k != abi.KindProbe {
		check(fmt.Errorf("%v to a probe", k))
	}
	act := probers[name]
	if act == nil {
		check(fmt.Errorf("no probe %q", name))
	}
	act(f)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake host:", err)
		quit(99)
	}
}

// play is main of a host process.
func play(role string) {
	_, name, _ := strings.Cut(os.Args[0], "(")
	name = strings.TrimSuffix(name, ".wasm)")
	f := &fake{in: ipc.NewReader(abi.Master, abi.MaxMessageLimit), out: ipc.NewWriter(1 << 30)}
	switch role {
	case roleCompile:
		f.compile(name)
		quit(0)
	case roleProbe:
		f.probe(name)
		quit(0)
	}
	act := roles[name]
	if probers[name] != nil {
		act = roles["good"]
	}
	if act == nil {
		check(fmt.Errorf("no role %q", name))
	}
	if strings.HasPrefix(os.Args[0], "wcluster: worker 2 ") {
		act = roles["good"] // beside an offender there is one who behaves
	}
	act(f)
	quit(0)
}

// fake is a host process's end of the channel, as simple as it can be: it waits wherever it likes.
type fake struct {
	in     *ipc.Reader
	mu     sync.Mutex // guards out: the connection goroutines write as well
	out    *ipc.Writer
	config abi.Config
	fds    []*ipc.FD
	board  page
	seq    uint32
}

// page is the scoreboard, from the worker's side.
type page []byte

func (p page) at(offset int) *uint64 { return (*uint64)(unsafe.Pointer(&p[offset])) }

func (p page) add(offset int, n uint64)   { atomic.AddUint64(p.at(offset), n) }
func (p page) store(offset int, n uint64) { atomic.StoreUint64(p.at(offset), n) }

func (f *fake) control(kind abi.Kind, seq uint32, v any, fds ...*ipc.FD) {
	f.mu.Lock()
	defer f.mu.Unlock()
	check(f.out.Control(kind, seq, v, fds...))
	f.flush()
}

func (f *fake) message(text string) { f.messageBytes([]byte(text)) }

func (f *fake) messageBytes(body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	check(f.out.Message(body))
	f.flush()
}

func (f *fake) stream(body []byte) {
	for {
		for range 500 {
			check(f.out.Message(body))
		}
		f.flush()
	}
}

func (f *fake) raw(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := unix.Write(3, b)
	check(err)
}

func (f *fake) flush() {
	for {
		err := f.out.Flush(3)
		if err != unix.EAGAIN {
			check(err)
			return
		}
		pollFor(unix.POLLOUT)
	}
}

func pollFor(events int16) { unix.Poll([]unix.PollFd{{Fd: 3, Events: events}}, -1) }

// next waits for a frame. At the end of the channel the process ends, as a host does.
func (f *fake) next() ipc.Frame {
	for {
		frame, ok, err := f.in.Next()
		check(err)
		if ok {
			frame.Body = bytes.Clone(frame.Body)
			frame.FDs = append([]*ipc.FD(nil), frame.FDs...)
			return frame
		}
		if err := f.in.Fill(3); err == unix.EAGAIN {
			pollFor(unix.POLLIN)
		} else if err != nil {
			quit(0)
		}
	}
}

func (f *fake) configure() {
	f.control(abi.KindHello, 0, ipc.OurHello())
	check(ipc.CheckHello(f.next()))
	frame := f.next()
	check(ipc.Decode(frame, &f.config))
	f.fds = frame.FDs
	if len(f.fds) != abi.ConfigFDs+len(f.config.Preopens) {
		check(fmt.Errorf("%d descriptors", len(f.fds)))
	}
	f.inspectFDs()
	p, err := unix.Mmap(f.fds[1].Int(), 0, abi.ScoreboardSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(err)
	f.board = p
}

// inspectFDs checks what a host relies on: descriptors that cannot be changed under it.
func (f *fake) inspectFDs() {
	if unix.Ftruncate(f.fds[1].Int(), 0) == nil {
		check(fmt.Errorf("the scoreboard can be truncated"))
	}
	if _, err := unix.Write(f.fds[0].Int(), []byte("x")); err == nil {
		check(fmt.Errorf("the module can be written"))
	}
	if at, err := unix.Seek(f.fds[0].Int(), 0, 1); err != nil || at != 0 {
		check(fmt.Errorf("the module's offset is %d: %v", at, err))
	}
	for _, fd := range []int{1, 2, 3} {
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); flags&unix.O_NONBLOCK == 0 {
			check(fmt.Errorf("descriptor %d is in blocking mode", fd))
		}
	}
}

// start comes online and listens on what it was given.
func (f *fake) start() {
	f.configure()
	f.control(abi.KindOnline, 0, nil)
	f.board.store(abi.BoardState, uint64(abi.StateWaiting))
	for i, p := range f.config.Preopens {
		f.listenOn(f.fds[abi.ConfigFDs+i], p.Address)
	}
}

// listenOn answers each connection with the worker's id.
func (f *fake) listenOn(fd *ipc.FD, a abi.Address) {
	file := os.NewFile(uintptr(fd.Take()), "listener")
	l, err := net.FileListener(file)
	check(err)
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	file.Close()
	listeners = append(listeners, l)
	f.control(abi.KindListening, 0, abi.Listening{Address: a, Fd: -1})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.board.add(abi.BoardCalls, 1)
			f.board.add(abi.BoardAccepted, 1)
			fmt.Fprintf(c, "%d\n", f.config.ID)
			c.Close()
		}
	}()
}

var listeners []net.Listener

// untilKilled does nothing more, whatever comes, but not for ever.
func (f *fake) untilKilled() {
	time.Sleep(time.Minute)
	quit(98)
}

// obey does what the messages say, one command each, until it is told to leave.
func (f *fake) obey() {
	for {
		frame := f.next()
		switch frame.Kind {
		case abi.KindMessage:
			f.board.add(abi.BoardConsumed, uint64(abi.HeaderSize+len(frame.Body)))
			f.board.add(abi.BoardMessagesIn, 1)
			f.board.add(abi.BoardCalls, 1)
			f.command(string(frame.Body))
		case abi.KindPing:
			f.control(abi.KindPong, frame.Seq, nil)
		case abi.KindNudge:
			f.message("nudged")
		case abi.KindDisconnect:
			f.leave(0)
		}
	}
}

func (f *fake) leave(cut int) {
	for _, l := range listeners {
		l.Close()
	}
	f.control(abi.KindDrained, 0, abi.Drained{Cut: cut})
	unix.Close(3)
	quit(0)
}

func (f *fake) command(text string) {
	verb, rest, _ := strings.Cut(text, " ")
	switch verb {
	case "echo":
		f.message(rest)
	case "env":
		f.message(strings.Join(f.config.Env, "\n"))
	case "args":
		f.message(strings.Join(f.config.Args, "\n"))
	case "print":
		os.Stdout.WriteString(rest)
	case "complain":
		os.Stderr.WriteString(rest)
	case "exit":
		quit(atoi(rest))
	case "trap":
		f.control(abi.KindFault, 0, abi.Fault{Text: "unreachable", Stack: "main\n_start", Reason: abi.FaultTrap})
		quit(1)
	case "burst": // messages, and then the end
		for i := range atoi(rest) {
			f.message(strconv.Itoa(i))
		}
		quit(3)
	case "stream": // messages of 100 bytes for ever, many in a system call
		f.stream(make([]byte, 100))
	case "leave":
		f.control(abi.KindLeaving, 0, nil)
		f.leave(atoi(rest))
	case "listen":
		f.askToListen(rest)
	case "compute": // in the guest, without a host call, for so many milliseconds
		f.board.store(abi.BoardState, uint64(abi.StateGuest))
		f.message("computing")
		time.Sleep(time.Duration(atoi(rest)) * time.Millisecond)
		f.board.store(abi.BoardState, uint64(abi.StateWaiting))
	case "deaf": // takes no connections
		for _, l := range listeners {
			l.Close()
		}
		f.message("deaf")
	case "sabotage": // the first listener, in one of the ways that its holder has
		f.sabotage(rest)
	case "threads":
		f.message(strconv.Itoa(runtime.NumGoroutine()))
	default:
		check(fmt.Errorf("no command %q", text))
	}
}

// sabotage ends the listening of a socket that others share.
func (f *fake) sabotage(how string) {
	raw, err := listeners[0].(syscall.Conn).SyscallConn()
	check(err)
	how, where, _ := strings.Cut(how, " ")
	check(raw.Control(func(fd uintptr) {
		switch how {
		case "shutdown":
			check(unix.Shutdown(int(fd), unix.SHUT_RD))
		case "disconnect", "connect":
			unspec := [16]byte{}
			if _, _, errno := unix.Syscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&unspec)), uintptr(len(unspec))); errno != 0 {
				check(errno)
			}
			if how == "connect" { // out, through the network namespace of whoever made the socket
				to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: atoi(where)}
				if err := unix.Connect(int(fd), to); err != unix.EINPROGRESS {
					check(err)
				}
			}
		}
	}))
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	check(err)
	return n
}

// askToListen sends "listening ADDRESS" or "errno NAME".
func (f *fake) askToListen(rest string) {
	spec, flags, _ := strings.Cut(rest, " ")
	a, err := abi.ParseAddress(spec)
	check(err)
	l := abi.Listen{Address: a}
	if flags != "" {
		l.Flags = uint32(atoi(flags))
	}
	f.seq++
	f.control(abi.KindListen, f.seq, l)
	frame := f.next()
	for frame.Kind != abi.KindListenDone {
		frame = f.next()
	}
	var done abi.ListenDone
	check(ipc.Decode(frame, &done))
	if frame.Seq != f.seq || (done.Errno == 0) != (len(frame.FDs) == 1) {
		check(fmt.Errorf("bad answer to listen"))
	}
	if done.Errno != abi.Success {
		f.message("errno " + done.Errno.String())
		return
	}
	f.listenOn(frame.FDs[0], done.Address)
	f.message("listening " + done.Address.String())
}

func (f *fake) compile(name string) {
	f.control(abi.KindHello, 0, ipc.OurHello())
	check(ipc.CheckHello(f.next()))
	frame := f.next()
	var c abi.Compile
	check(ipc.Decode(frame, &c))
	act := compilers[name]
	if act == nil {
		act = compilers[""]
	}
	act(f, c)
}

func signalIgnore() {
	// Not package signal: SIG_IGN is wanted from the first instruction on.
	type sigaction struct {
		handler, flags, restorer, mask uintptr
	}
	act := sigaction{handler: 1}
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(syscall.SIGTERM), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
	if e != 0 {
		check(e)
	}
}

// leaveBehind forks a process that holds the channel open, and the outputs, for a while after its parent has gone.
func leaveBehind() {
	_, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "5"}, &syscall.ProcAttr{
		Files: []uintptr{0, 1, 2, 3}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	check(err)
}

// quit is os.Exit without what the race detector does at the end, which takes it a second.
func quit(code int) { syscall.Exit(code) }
