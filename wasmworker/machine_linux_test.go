package wasmworker

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// start makes a module whose _start is body, after change has imported what body needs.
func start(change func(a *assembly) (body string)) []byte {
	a := &assembly{}
	body := change(a)
	a.fn("_start", ">", 2, body)
	return a.bytes()
}

func TestEnds(t *testing.T) {
	exit := func(code int32) []byte {
		return start(func(a *assembly) string {
			return callWith(a.use("wasi_snapshot_preview1", "proc_exit", "i>"), code) + unreachable
		})
	}
	for _, tt := range []struct {
		name   string
		module []byte
		code   int
		fault  string // of the text; "": none
		reason abi.FaultReason
	}{
		{"returning is 0", start(func(*assembly) string { return "" }), 0, "", ""},
		{"exit 0 is 0", exit(0), 0, "", ""},
		{"exit 42 is 42", exit(42), 42, "", ""},
		{"exit 255 is 255", exit(255), 255, "", ""},
		{"exit 256 is not 0", exit(256), 255, "", ""},
		{"exit -1 is 255", exit(-1), 255, "", ""},
		{"exit of the smallest number is 255", exit(-1 << 31), 255, "", ""},
		{"unreachable", start(func(*assembly) string { return unreachable }), 1, "unreachable", abi.FaultTrap},
		{"a load past the end", start(func(*assembly) string { return i32(-4) + load + drop }), 1, "out of bounds memory access", abi.FaultTrap},
		{"a division by zero", start(func(*assembly) string { return i32(1) + i32(0) + "\x6d" + drop }), 1, "integer divide by zero", abi.FaultTrap},
		{"endless recursion", func() []byte {
			a := &assembly{}
			a.fn("_start", ">", 0, invoke(0))
			return a.bytes()
		}(), 1, "stack overflow", abi.FaultTrap},
		{"a trap in the start function", func() []byte {
			a := &assembly{}
			a.start = []uint32{a.fn("f", ">", 0, unreachable)}
			a.fn("_start", ">", 0)
			return a.bytes()
		}(), 1, "unreachable", abi.FaultStart},
		{"exit 0 in the start function", func() []byte {
			a := &assembly{}
			exit := a.use("wasi_snapshot_preview1", "proc_exit", "i>")
			a.start = []uint32{a.fn("f", ">", 0, callWith(exit, 0))}
			a.fn("_start", ">", 0, unreachable)
			return a.bytes()
		}(), 0, "", ""},
		{"exit 3 in the start function", func() []byte {
			a := &assembly{}
			exit := a.use("wasi_snapshot_preview1", "proc_exit", "i>")
			a.start = []uint32{a.fn("f", ">", 0, callWith(exit, 3))}
			a.fn("_start", ">", 0, unreachable)
			return a.bytes()
		}(), 3, "", ""},
		{"a trap in _initialize", func() []byte {
			a := &assembly{}
			a.fn("_initialize", ">", 0, unreachable)
			a.fn("_start", ">", 0)
			return a.bytes()
		}(), 1, "unreachable", abi.FaultTrap},
		{"data past the end of memory", func() []byte {
			a := &assembly{pages: []uint32{0, 0}, data: "hello"}
			a.fn("_start", ">", 0)
			return a.bytes()
		}(), 1, "out of bounds", abi.FaultStart},
		{"neither _start nor _initialize", (&assembly{}).bytes(), 0, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.module)
			result := r.run()
			if result.Code != tt.code || (result.Fault != nil) != (tt.fault != "") {
				t.Fatalf("ended with %d, %+v; want %d", result.Code, result.Fault, tt.code)
			}
			if f := result.Fault; f != nil && (f.Reason != tt.reason || !strings.Contains(f.Text, tt.fault) || strings.ContainsAny(f.Text, "\n")) {
				t.Errorf("fault %+v, want %q, %q", f, tt.reason, tt.fault)
			}
		})
	}
}

func TestInitializeComesBeforeStart(t *testing.T) {
	a := &assembly{}
	a.fn("_start", ">", 0, put(4, i32(0)+load, i32(1), add))
	a.fn("_initialize", ">", 0, put(0, i32(41)))
	r := newRig(t, a.bytes())
	r.runOK()
	if got := r.u32(4); got != 42 {
		t.Errorf("%d", got)
	}
}

func TestATrapNamesTheFunctions(t *testing.T) {
	a := &assembly{names: true}
	yield := a.wasi("sched_yield", "")
	inner := a.fn("inner", "i>i", 0, invoke(yield), drop, unreachable)
	outer := a.fn("outer\x1b[2J", ">", 0, callWith(inner, 1), drop)
	a.fn("_start", ">", 0, invoke(outer))
	result := newRig(t, a.bytes()).run()
	if result.Fault == nil {
		t.Fatal("no fault")
	}
	want := "inner(i32) i32\nouter\uFFFD[2J()\n_start()"
	if result.Fault.Text != "unreachable" || result.Fault.Stack != want {
		t.Errorf("text %q, stack %q; want %q", result.Fault.Text, result.Fault.Stack, want)
	}
}

func TestAFaultInAHostCallNamesIt(t *testing.T) {
	a := &assembly{names: true}
	abort := a.use("env", "abort", "iiii>")
	// Strings of AssemblyScript: UTF-16, the length in bytes four bytes before.
	message, file := "\x0a\x00\x00\x00h\x00e\x00l\x00\n\x00o\x00", "\x08\x00\x00\x00a\x00.\x00t\x00s\x00"
	a.data = message + file
	at := int32(dataAt)
	a.fn("_start", ">", 0, callWith(abort, at+4, at+int32(len(message))+4, 3, 5))
	result := newRig(t, a.bytes()).run()
	f := result.Fault
	if f == nil || result.Code != 1 || f.Text != "abort: hel; o at a.ts:3:5" || f.Reason != abi.FaultTrap {
		t.Fatalf("ended with %d, %+v", result.Code, f)
	}
	if !strings.HasPrefix(f.Stack, "env.abort(i32,i32,i32,i32)\n_start()") {
		t.Errorf("stack %q", f.Stack)
	}
}

func TestAbortOfBadStrings(t *testing.T) {
	for _, tt := range []struct {
		name string
		ptr  int32
		data string
		want string
	}{
		{"a null pointer", 0, "", "(none)"},
		{"a pointer too low for a length", 3, "", "(none)"},
		{"a pointer past the end", -1, "", "(unreadable)"},
		{"the end of memory, and a length of nothing", 65536, "", ""},
		{"a length beyond memory is cut", dataAt + 4, "\xff\xff\xff\xff" + strings.Repeat("a\x00", 3000), strings.Repeat("a", maxAbortText)},
		{"an odd length", dataAt + 4, "\x03\x00\x00\x00a\x00b", "a"},
		{"half a character", dataAt + 4, "\x02\x00\x00\x00\x00\xd8", "\uFFFD"},
		{"control characters", dataAt + 4, "\x06\x00\x00\x00\x1b\x00\r\x00a\x00", "\uFFFD\uFFFDa"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &assembly{data: tt.data}
			abort := a.use("env", "abort", "iiii>")
			a.fn("_start", ">", 0, callWith(abort, tt.ptr, 0, 0, 0))
			result := newRig(t, a.bytes()).run()
			if want := "abort: " + tt.want + " at (none):0:0"; result.Fault == nil || result.Fault.Text != want {
				t.Errorf("fault %.100q, want %.100q", result.Fault.Text, want)
			}
		})
	}
}

func TestADeepStackIsClipped(t *testing.T) {
	a := &assembly{names: true}
	name := strings.Repeat("名", 10_000)
	f := uint32(0)
	for i := range 20 {
		body := unreachable
		if i > 0 {
			body = invoke(f)
		}
		f = a.fn(name, ">", 0, body)
	}
	a.fn("_start", ">", 0, invoke(f))
	result := newRig(t, a.bytes()).run()
	if s := result.Fault.Stack; len(s) > abi.MaxFaultText || !strings.HasSuffix(s, "名…") {
		t.Errorf("%d bytes, ending in %q", len(s), s[len(s)-20:])
	}
}

// Everything a guest can do must end in an errno, a trap or an exit.
func TestLoadRefusesWhatHostCallsCannotServe(t *testing.T) {
	for _, a := range []*assembly{{noMemory: true}, {noExport: true}} {
		yield := a.wasi("sched_yield", "")
		a.fn("_start", ">", 0, invoke(yield), drop)
		r := rigOf(t, Config{Module: a.bytes()})
		if err := r.machine.Load(context.Background()); err == nil || !strings.Contains(err.Error(), "memory") {
			t.Errorf("error %v", err)
		}
	}
	r := rigOf(t, Config{Module: []byte("no module")})
	if err := r.machine.Load(context.Background()); err == nil {
		t.Error("what is no module is loaded")
	}
}

func TestImportsThatAreMissingAreAFault(t *testing.T) {
	a := &assembly{}
	a.use("env", "nothing", ">")
	a.fn("_start", ">", 0)
	result := newRig(t, a.bytes()).run()
	if result.Code != 1 || result.Fault == nil || result.Fault.Reason != abi.FaultStart || !strings.Contains(result.Fault.Text, "env") {
		t.Errorf("ended with %d, %+v", result.Code, result.Fault)
	}
}

// The name in a module's name section is the guest's choice, and must not collide with the modules it imports from.
func TestAModuleMayHaveAnyName(t *testing.T) {
	for _, name := range []string{"wcluster", "wasi_snapshot_preview1", "env", ""} {
		a := &assembly{}
		a.fn("_start", ">", 0)
		module := append(a.bytes(), raw(0, text("name")+raw(0, text(name)))...)
		newRig(t, module).runOK()
	}
}

// The host unmaps the module's bytes after Load: nothing may point into them.
func TestTheModulesBytesAreNotNeededAfterLoad(t *testing.T) {
	a := wholesome()
	module := a.bytes()
	r := newRig(t, module)
	clear(module)
	r.runOK()
	if got := string(r.mem(dataAt, 5)); got != "hello" {
		t.Errorf("data is %q", got)
	}
}

func TestTheScoreboard(t *testing.T) {
	r := newRig(t, start(func(a *assembly) string {
		yield, poll := a.wasi("sched_yield", ""), a.wasi("poll_oneoff", "iiii")
		// One subscription of zeros: a clock that has come. Then one of a microsecond.
		return callWith(yield) + drop + callWith(poll, 0, 100, 1, 200) + drop +
			i32(16) + i32(1) + store + i32(24) + i32(1000) + store + callWith(poll, 0, 100, 1, 200) + drop
	}))
	var states []abi.State
	before, after := r.machine.poller.BeforeWait, r.machine.poller.AfterWait
	r.machine.poller.BeforeWait = func() { before(); states = append(states, abi.State(r.board.State)) }
	r.machine.poller.AfterWait = func() { after(); states = append(states, abi.State(r.board.State)) }
	r.runOK()
	if r.board.Calls != 3 || r.board.Memory != 65536 {
		t.Errorf("%d calls, %d bytes of memory", r.board.Calls, r.board.Memory)
	}
	if len(states) != 2 || states[0] != abi.StateWaiting || states[1] != abi.StateGuest {
		t.Errorf("states around a wait: %v", states)
	}
}

// A message must not lie in the outbox of a guest that computes and makes host calls now and then.
func TestMessagesLeave(t *testing.T) {
	send := func(then func(a *assembly, send uint32) string) *rig {
		return newRig(t, start(func(a *assembly) string {
			send := a.wcluster("send", "iiii")
			return then(a, send)
		}))
	}
	sendOne := func(f uint32) string { return callWith(f, 0, dataAt, 1, -1) + drop }
	t.Run("at the next wait", func(t *testing.T) {
		r := send(func(a *assembly, send uint32) string {
			poll := a.wasi("poll_oneoff", "iiii")
			return sendOne(send) + i32(16) + i32(1) + store + i32(24) + i32(1) + store + callWith(poll, 0, 100, 1, 200) + drop
		})
		r.runOK()
		if len(r.sent) != 1 || r.flushed != 1 {
			t.Errorf("%d sent, %d flushed", len(r.sent), r.flushed)
		}
	})
	t.Run("at a host call a millisecond later", func(t *testing.T) {
		r := send(func(a *assembly, send uint32) string {
			clock := a.wasi("clock_time_get", "iIi")
			read := i32(1) + i64(0) + i32(8) + invoke(clock) + drop
			// Until 2 ms have passed: time at 8, limit at 16.
			return sendOne(send) + read + i32(16) + i32(8) + "\x29\x03\x00" + i64(2e6) + "\x7c" + "\x37\x03\x00" +
				"\x03\x40" + read + i32(8) + "\x29\x03\x00" + i32(16) + "\x29\x03\x00" + "\x54" + "\x0d\x00" + end +
				read // the thread may have been away in the last one, after it was counted
		})
		begun := time.Now()
		r.runOK()
		if len(r.sent) != 1 || r.flushed != 1 || r.flushes != 1 {
			t.Errorf("%d sent, %d flushed in %d times, in %v", len(r.sent), r.flushed, r.flushes, time.Since(begun))
		}
	})
	t.Run("not at once", func(t *testing.T) {
		r := send(func(_ *assembly, send uint32) string { return sendOne(send) + sendOne(send) })
		r.runOK()
		if r.flushed != 0 && r.board.Calls == 2 && r.machine.poller.Now()-r.machine.unsent < flushAfter {
			t.Errorf("flushed %d times", r.flushes)
		}
	})
}

// A module as a compiler makes it: the trap's stack tells the way that leads to it.
func TestTheTrapOfACompiledGuest(t *testing.T) {
	module, err := os.ReadFile("../testdata/guests/trap/trap.wasm")
	if err != nil {
		t.Fatal(err)
	}
	f := newRig(t, module).run().Fault
	if f == nil || f.Text != "unreachable" {
		t.Fatalf("fault %+v", f)
	}
	rest := f.Stack
	for _, name := range []string{"innermost(", "inner(", "outer(", "main", "_start("} {
		_, after, found := strings.Cut(rest, name)
		if !found {
			t.Fatalf("%q does not come in its place in\n%s", name, f.Stack)
		}
		rest = after
	}
}
