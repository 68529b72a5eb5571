package wasmworker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// callbacks is a guest with a callback at table index 1, whose body is inside. It counts its calls at countAt and keeps
// its parameters at paramsAt. outside are the steps of _start.
const (
	countAt  = 1024
	paramsAt = 1028
	innerAt  = 512 // where callbacks keep what their calls answer
)

func callbackSteps(tb testing.TB, prepare func(r *rig), make func(a *assembly) (inside string, outside []string)) (*rig, []wasip1.Errno, Result) {
	tb.Helper()
	a := &assembly{names: true}
	inside, outside := make(a)
	record := put(countAt, i32(countAt)+load, i32(1), add)
	for i := range int32(5) {
		record += put(paramsAt+4*i, local(uint32(i)))
	}
	a.table = []uint32{a.fn("callback", "iiiii>", 0, record, inside)}
	body := ""
	for i, step := range outside {
		body += put(int32(4*i), step)
	}
	a.fn("_start", ">", 0, body)
	r := newRig(tb, a.bytes())
	if prepare != nil {
		prepare(r)
	}
	result := r.run()
	return r, r.errnos(0, uint32(len(outside))), result
}

func TestDispatchDelivers(t *testing.T) {
	r, got, result := callbackSteps(t, func(r *rig) {
		r.message("first")
		r.message("second!")
	}, func(a *assembly) (string, []string) {
		onMessage, dispatch := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i")
		return "", []string{callWith(onMessage, 1, -77, bufferAt, 100), callWith(dispatch, 0), callWith(dispatch, 0), callWith(dispatch, 1)}
	})
	wantErrnos(t, got, 0, 0, 0, 0)
	if result.Code != 0 || r.u32(countAt) != 2 {
		t.Fatalf("ended with %+v after %d messages", result, r.u32(countAt))
	}
	for i, want := range []uint32{1<<32 - 77, 0, bufferAt, 7, 1<<32 - 1} {
		if got := r.u32(paramsAt + 4*uint32(i)); got != want {
			t.Errorf("parameter %d is %d, want %d", i, got, want)
		}
	}
	if string(r.mem(bufferAt, 7)) != "second!" || r.board.MessagesIn != 2 {
		t.Errorf("buffer %q; %d messages counted", r.mem(bufferAt, 7), r.board.MessagesIn)
	}
	if !r.machine.Aware() {
		t.Error("a guest with a callback is aware")
	}
}

func TestDispatchEndsWithTheDisconnect(t *testing.T) {
	r, got, _ := callbackSteps(t, func(r *rig) {
		r.message("before")
		r.machine.Inbox.Put(abi.RecordDisconnect, 0, 0, nil)
		r.message("after")
	}, func(a *assembly) (string, []string) {
		onMessage, dispatch := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i")
		return "", []string{callWith(onMessage, 1, 0, bufferAt, 100), callWith(dispatch, -1), callWith(dispatch, 0)}
	})
	wantErrnos(t, got, 0, abi.ECANCELED, 0)
	if !r.machine.Told() || r.u32(countAt) != 2 {
		t.Errorf("told: %v; %d messages", r.machine.Told(), r.u32(countAt))
	}
}

func TestDispatchOfAMessageThatDoesNotFit(t *testing.T) {
	r, got, _ := callbackSteps(t, func(r *rig) { r.message("too long") }, func(a *assembly) (string, []string) {
		onMessage, dispatch, receive := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i"), a.wcluster("receive", "iii")
		return "", []string{
			callWith(onMessage, 1, 0, bufferAt, 7),
			callWith(dispatch, -1),
			callWith(dispatch, 5), // it stays
			callWith(receive, bufferAt, 8, recordAt+64),
			callWith(dispatch, 0),
		}
	})
	wantErrnos(t, got, 0, abi.EMSGSIZE, abi.EMSGSIZE, 0, 0)
	if r.u32(countAt) != 0 || string(r.mem(bufferAt, 8)) != "too long" {
		t.Errorf("%d messages delivered, %q received", r.u32(countAt), r.mem(bufferAt, 8))
	}
}

// A callback that takes its time must not keep dispatch beyond its timeout for every message that waits.
func TestDispatchLooksAtItsTimeBetweenMessages(t *testing.T) {
	r, got, _ := callbackSteps(t, func(r *rig) {
		for range 50 {
			r.message("x")
		}
	}, func(a *assembly) (string, []string) {
		onMessage, dispatch, poll := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i"), a.wasi("poll_oneoff", "iiii")
		sleep := i32(3016) + i32(1) + store + i32(3024) + i32(2_000_000) + store + callWith(poll, 3000, 3100, 1, 3200) + drop
		return sleep, []string{callWith(onMessage, 1, 0, bufferAt, 7), callWith(dispatch, 1)}
	})
	wantErrnos(t, got, 0, 0)
	if n := r.u32(countAt); n != 1 {
		t.Errorf("%d messages of 2 ms in 1 ms", n)
	}
}

func TestOnMessageErrnos(t *testing.T) {
	other := func(a *assembly) (string, []string) {
		onMessage, dispatch := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i")
		return "", []string{
			callWith(dispatch, 0), // nothing registered
			callWith(onMessage, 0, 0, bufferAt, 7),
			callWith(onMessage, 2, 0, bufferAt, 7),
			callWith(onMessage, -1, 0, bufferAt, 7),
			callWith(onMessage, 1, 0, 65536, 1),
			callWith(onMessage, 1, 0, -1, -1),
			callWith(dispatch, 0), // still nothing
			callWith(onMessage, 1, 0, 65536, 0),
			callWith(dispatch, -2),
			callWith(dispatch, -1<<31),
			callWith(dispatch, 0),
		}
	}
	_, got, _ := callbackSteps(t, nil, other)
	wantErrnos(t, got, abi.EINVAL, abi.EINVAL, abi.EINVAL, abi.EINVAL, abi.EFAULT, abi.EFAULT, abi.EINVAL, 0, abi.EINVAL, abi.EINVAL, 0)
}

func TestOnMessageOfWhatIsNoCallback(t *testing.T) {
	for _, tt := range []struct {
		name  string
		table func(a *assembly) []uint32
		want  wasip1.Errno
	}{
		{"no table at all", func(*assembly) []uint32 { return nil }, abi.ENOTSUP},
		{"a table with nothing in it", func(*assembly) []uint32 { return []uint32{} }, abi.EINVAL},
		{"a function with other parameters", func(a *assembly) []uint32 { return []uint32{a.fn("f", "i>", 0)} }, abi.EINVAL},
		{"a function with a result", func(a *assembly) []uint32 { return []uint32{a.fn("f", "iiiii>i", 0, i32(0))} }, abi.EINVAL},
		{"a function of the host", func(*assembly) []uint32 { return []uint32{0} }, abi.EINVAL},
		{"a table that is not exported is found all the same", func(a *assembly) []uint32 { return []uint32{a.fn("f", "iiiii>", 0)} }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := script(t, nil, func(a *assembly) []string {
				onMessage := a.wcluster("on_message", "iiii")
				a.table = tt.table(a)
				return []string{callWith(onMessage, 1, 0, bufferAt, 7)}
			})
			wantErrnos(t, got, tt.want)
		})
	}
}

func TestOnMessageInTheStartFunction(t *testing.T) {
	a := &assembly{}
	onMessage, dispatch := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i")
	a.table = []uint32{a.fn("callback", "iiiii>", 0)}
	a.start = []uint32{a.fn("init", ">", 0, put(0, callWith(onMessage, 1, 0, bufferAt, 7)), put(4, callWith(dispatch, 0)))}
	a.fn("_start", ">", 0)
	r := newRig(t, a.bytes())
	r.runOK()
	wantErrnos(t, r.errnos(0, 2), abi.EBUSY, abi.EINVAL)
}

func TestACallbackThatDoesNotReturn(t *testing.T) {
	deliver := func(t *testing.T, inside func(a *assembly) string) (*rig, Result) {
		r, _, result := callbackSteps(t, func(r *rig) { r.message("x") }, func(a *assembly) (string, []string) {
			onMessage, dispatch := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i")
			return inside(a), []string{callWith(onMessage, 1, 0, bufferAt, 7), callWith(dispatch, -1)}
		})
		return r, result
	}
	for _, code := range []int32{0, 42, 256} {
		r, result := deliver(t, func(a *assembly) string {
			return callWith(a.use("wasi_snapshot_preview1", "proc_exit", "i>"), code)
		})
		if result.Code != int(min(code, MaxExitCode)) || result.Fault != nil || r.u32(countAt) != 1 {
			t.Errorf("exit %d ended with %d, %+v", code, result.Code, result.Fault)
		}
	}
	_, result := deliver(t, func(*assembly) string { return unreachable })
	if f := result.Fault; result.Code != 1 || f == nil || f.Text != "unreachable" || f.Reason != abi.FaultTrap ||
		!strings.HasPrefix(f.Stack, "callback(i32,i32,i32,i32,i32)") || strings.Contains(f.Stack, "Go runtime") {
		t.Errorf("a trap ended with %d, %+v", result.Code, f)
	}
	_, result = deliver(t, func(a *assembly) string { return callWith(a.use("env", "abort", "iiii>"), 0, 0, 1, 2) })
	if f := result.Fault; f == nil || f.Text != "abort: (none) at (none):1:2" {
		t.Errorf("an abort ended with %d, %+v", result.Code, f)
	}
}

// A callback may do anything but be entered again: each call from inside it, and what it answers.
func TestCallsFromInsideACallback(t *testing.T) {
	for _, tt := range []struct {
		name string
		call func(a *assembly) string
		want wasip1.Errno
	}{
		{"dispatch", func(a *assembly) string { return callWith(a.wcluster("dispatch", "i"), -1) }, abi.EBUSY},
		{"dispatch for nothing", func(a *assembly) string { return callWith(a.wcluster("dispatch", "i"), 0) }, abi.EBUSY},
		{"on_message", func(a *assembly) string { return callWith(a.wcluster("on_message", "iiii"), 1, 9, bufferAt, 50) }, 0},
		{"on_message of what is no callback", func(a *assembly) string { return callWith(a.wcluster("on_message", "iiii"), 9, 9, bufferAt, 50) }, abi.EINVAL},
		{"receive", func(a *assembly) string { return callWith(a.wcluster("receive", "iii"), bufferAt, 50, recordAt+64) }, 0},
		{"send", func(a *assembly) string { return callWith(a.wcluster("send", "iiii"), 0, bufferAt, 5, -1) }, 0},
		{"inbox", func(a *assembly) string { return callWith(a.wcluster("inbox", "i"), recordAt+64) }, 0},
		{"listen", func(a *assembly) string {
			a.data = "tcp://:80"
			return callWith(a.wcluster("listen", "iiiii"), dataAt, 9, 0, 0, recordAt+64)
		}, 0},
		{"wait", func(a *assembly) string {
			return i32(bufferAt) + i32(5) + i64(1000) + i32(recordAt+64) + invoke(a.wcluster("wait", "iiIi"))
		}, 0},
		{"watch", func(a *assembly) string {
			return i32(50) + i32(1) + i64(1) + invoke(a.wcluster("watch", "iiI"))
		}, abi.EBADF},
		{"poll_oneoff", func(a *assembly) string { return callWith(a.wasi("poll_oneoff", "iiii"), 3000, 3100, 1, 3200) }, 0},
		{"disconnect", func(a *assembly) string { return callWith(a.wcluster("disconnect", "i"), 0) }, 0},
		{"a growing memory", func(*assembly) string { return i32(1) + memoryGrow }, 1},
		{"the guest's own functions, deep", func(a *assembly) string {
			deep := a.fn("deep", "i>i", 0, local(0)+"\x45\x04\x7f"+i32(0)+"\x05"+local(0)+i32(-1)+add+invoke(a.functions)+end)
			return callWith(deep, 50_000)
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const messages = 3
			r, got, result := callbackSteps(t, func(r *rig) {
				for i := range messages {
					r.message(fmt.Sprint("message ", i))
				}
			}, func(a *assembly) (string, []string) {
				onMessage, dispatch := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i")
				inside := put(innerAt, tt.call(a))
				return inside, []string{callWith(onMessage, 1, 9, bufferAt, 50), callWith(dispatch, 0), callWith(dispatch, 0)}
			})
			if result.Code != 0 || result.Fault != nil {
				t.Fatalf("ended with %+v", result.Fault)
			}
			wantErrnos(t, got, 0, 0, 0)
			taken := messages
			if tt.name == "receive" {
				taken = 2 // the second was received inside the first
			}
			if n := r.u32(countAt); n != uint32(taken) || r.board.MessagesIn != messages {
				t.Errorf("%d calls for %d messages, %d counted", n, messages, r.board.MessagesIn)
			}
			want := tt.want
			if tt.name == "receive" {
				want = abi.EAGAIN // for the third there is no other
			} else if tt.name == "a growing memory" {
				want = messages // pages before the last
			}
			if inner := r.errnos(innerAt, 1)[0]; inner != want {
				t.Errorf("answers %v, want %v", inner, want)
			}
		})
	}
}
