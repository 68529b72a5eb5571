package wasmworker

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/wcluster/wcluster/abi"
)

// hotCalls are host calls that a busy guest makes, as it makes them: each is a loop of Wasm around the call.
var hotCalls = []struct {
	name string
	call func(a *assembly) string
	prep func(tb testing.TB, r *rig)
}{
	{name: "version", call: func(a *assembly) string { return invoke(a.wcluster("version", "")) }},
	{name: "clock_time_get", call: func(a *assembly) string {
		return i32(1) + i64(0) + i32(8) + invoke(a.wasi("clock_time_get", "iIi"))
	}},
	{name: "fd_fdstat_get", call: func(a *assembly) string { return callWith(a.wasi("fd_fdstat_get", "ii"), 0, 100) }, prep: openInbox},
	{name: "watch", call: func(a *assembly) string {
		return i32(0) + i32(1) + i64(5) + invoke(a.wcluster("watch", "iiI"))
	}, prep: openInbox},
	{name: "wait beside a full inbox", call: func(a *assembly) string {
		return i32(bufferAt) + i32(8) + i64(-1) + i32(recordAt) + invoke(a.wcluster("wait", "iiIi"))
	}, prep: watchFullInbox},
	{name: "poll_oneoff of the inbox", call: func(a *assembly) string {
		a.data = string(make([]byte, 8)) + "\x01" + string(make([]byte, 39)) // fd_read of descriptor 0
		return callWith(a.wasi("poll_oneoff", "iiii"), dataAt, bufferAt, 1, recordAt)
	}, prep: watchFullInbox},
	{name: "send", call: func(a *assembly) string { return callWith(a.wcluster("send", "iiii"), 0, bufferAt, 100, -1) }},
	{name: "receive of nothing", call: func(a *assembly) string {
		return callWith(a.wcluster("receive", "iii"), bufferAt, 100, recordAt)
	}},
	{name: "receive of a message that is too large", call: func(a *assembly) string {
		return callWith(a.wcluster("receive", "iii"), bufferAt, 1, recordAt)
	}, prep: watchFullInbox},
}

func openInbox(tb testing.TB, r *rig) {
	if _, errno := r.sys.OpenVirtual(r.machine.Inbox); errno != 0 {
		tb.Fatal(errno)
	}
}

func watchFullInbox(tb testing.TB, r *rig) {
	openInbox(tb, r)
	r.message("hello")
	if errno := r.sys.Watch(0, abi.WatchRead, 1); errno != 0 {
		tb.Fatal(errno)
	}
}

// looped instantiates a guest whose function loop makes a call so many times.
func looped(tb testing.TB, call func(a *assembly) string, prep func(tb testing.TB, r *rig)) func(n uint32) {
	tb.Helper()
	a := &assembly{}
	body := call(a)
	a.export("loop", 0, a.fn("loop", "i>", 0, "\x03\x40"+body+drop+local(0)+i32(-1)+add+"\x22\x00\x0d\x00"+end))
	r := newRig(tb, a.bytes())
	r.machine.services.Send = func([]byte) abi.Errno { return 0 }
	if prep != nil {
		prep(tb, r)
	}
	mod, err := r.machine.instantiate(withMemory(context.Background(), &r.board.Memory, &r.machine.limit))
	if err != nil {
		tb.Fatal(err)
	}
	f := mod.ExportedFunction("loop")
	stack := make([]uint64, 1)
	return func(n uint32) {
		stack[0] = api.EncodeU32(n)
		if err := f.CallWithStack(context.Background(), stack); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkHostCall is what a host call costs a guest, all in all.
func BenchmarkHostCall(b *testing.B) {
	for _, hc := range hotCalls {
		b.Run(hc.name, func(b *testing.B) {
			loop := looped(b, hc.call, hc.prep)
			b.ReportAllocs()
			b.ResetTimer()
			loop(uint32(b.N))
		})
	}
}

// A host call must allocate nothing: a collection would stop the one thread there is.
func TestHostCallsAllocateNothing(t *testing.T) {
	for _, hc := range hotCalls {
		t.Run(hc.name, func(t *testing.T) {
			loop := looped(t, hc.call, hc.prep)
			loop(1)
			few, many := testing.AllocsPerRun(20, func() { loop(1) }), testing.AllocsPerRun(20, func() { loop(1000) })
			if many > few {
				t.Errorf("%v allocations in 1,000 calls, %v in one", many, few)
			}
		})
	}
}

// Messages that come and go allocate nothing once the inbox has its size.
func TestMessagesAllocateNothing(t *testing.T) {
	a := &assembly{}
	receive := callWith(a.wcluster("receive", "iii"), bufferAt, 100, recordAt)
	a.export("loop", 0, a.fn("loop", ">", 0, receive, drop))
	r := newRig(t, a.bytes())
	mod, err := r.machine.instantiate(withMemory(context.Background(), &r.board.Memory, &r.machine.limit))
	if err != nil {
		t.Fatal(err)
	}
	f := mod.ExportedFunction("loop")
	body := make([]byte, 100)
	call := func(messages int) func() {
		return func() {
			for range messages {
				r.machine.Inbox.Put(abi.RecordMessage, 0, uint32(abi.HeaderSize+len(body)), body)
			}
			for range messages {
				if err := f.CallWithStack(context.Background(), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	call(64)()
	one, many := testing.AllocsPerRun(20, call(1)), testing.AllocsPerRun(20, call(64))
	if many > 64*one {
		t.Errorf("%v allocations for 64 messages, %v for one", many, one)
	}
	if !r.machine.Inbox.Empty() {
		t.Error("messages are left")
	}
}

// BenchmarkDispatch is a message from the inbox through the callback.
func BenchmarkDispatch(b *testing.B) {
	a := &assembly{}
	onMessage, dispatch := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i")
	a.table = []uint32{a.fn("callback", "iiiii>", 0)}
	a.export("register", 0, a.fn("register", ">", 0, callWith(onMessage, 1, 0, bufferAt, 1000), drop))
	a.export("dispatch", 0, a.fn("dispatch", ">", 0, callWith(dispatch, 0), drop))
	r := newRig(b, a.bytes())
	mod, err := r.machine.instantiate(withMemory(context.Background(), &r.board.Memory, &r.machine.limit))
	if err != nil {
		b.Fatal(err)
	}
	r.machine.callback.module = mod
	call := func(name string) {
		if err := mod.ExportedFunction(name).CallWithStack(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
	}
	call("register")
	body := make([]byte, 100)
	const batch = 1000
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += batch {
		for range batch {
			r.machine.Inbox.Put(abi.RecordMessage, 0, uint32(abi.HeaderSize+len(body)), body)
		}
		call("dispatch")
	}
}

// BenchmarkSections is what the sections of a large module cost beside compiling it.
func BenchmarkSections(b *testing.B) {
	a := &assembly{names: true}
	for range 20_000 {
		a.fn("function", "ii>i", 3, local(0), local(1), add)
	}
	module := a.bytes()
	b.SetBytes(int64(len(module)))
	for range b.N {
		if _, err := sections(module); err != nil {
			b.Fatal(err)
		}
	}
}
