package wasmworker

import (
	"context"
	"strings"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

const mebibyte = 1 << 20

// limited makes a machine for a module whose memory may have so many bytes; it is loaded but does not run yet.
func limited(t *testing.T, module []byte, bytes int64) *rig {
	t.Helper()
	r := rigOf(t, Config{Module: module, MaxMemory: bytes})
	if err := r.machine.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}

// growing is a module with a memory of such pages, whose _start runs body. exit ends it with a code.
func growing(pages []uint32, body func(exit func(int32) string) string) []byte {
	a := &assembly{names: true, pages: pages}
	f := a.use("wasi_snapshot_preview1", "proc_exit", "i>")
	a.fn("_start", ">", 0, body(func(code int32) string { return callWith(f, code) }))
	return a.bytes()
}

func grow(pages int32) string { return i32(pages) + memoryGrow + drop }

func TestTheEndOfAGuestThatWasRefusedMemory(t *testing.T) {
	const refused = "memory limit: more than 2 MiB was refused, then: "
	trap := func(steps string) func(func(int32) string) string {
		return func(func(int32) string) string { return steps + unreachable }
	}
	for _, tt := range []struct {
		name   string
		pages  []uint32
		limit  int64
		body   func(exit func(int32) string) string
		code   int
		reason abi.FaultReason // "": no fault
		text   string
	}{
		{"a trap", []uint32{1}, 2 * mebibyte, trap(grow(32)), 1, abi.FaultLimit, refused + "unreachable"},
		{"a trap long after", []uint32{1}, 2 * mebibyte, trap(grow(32) + grow(4) + grow(0)), 1, abi.FaultLimit, refused + "unreachable"},
		{"an exit code", []uint32{1}, 2 * mebibyte, func(exit func(int32) string) string { return grow(32) + exit(7) }, 7, abi.FaultLimit, refused + "exit code 7"},
		{"an exit code that no process can have", []uint32{1}, 2 * mebibyte, func(exit func(int32) string) string { return grow(32) + exit(256) }, 255, abi.FaultLimit, refused + "exit code 255"},
		{"exit code 0", []uint32{1}, 2 * mebibyte, func(exit func(int32) string) string { return grow(32) + exit(0) }, 0, "", ""},
		{"a return", []uint32{1}, 2 * mebibyte, func(func(int32) string) string { return grow(32) }, 0, "", ""},
		{"a trap of one that had all it asked for", []uint32{1}, 2 * mebibyte, trap(grow(31)), 1, abi.FaultTrap, "unreachable"},
		{"an exit code of one that had all it asked for", []uint32{1}, 2 * mebibyte, func(exit func(int32) string) string { return grow(31) + exit(7) }, 7, "", ""},
		{"a trap without a limit", []uint32{1}, 0, trap(grow(32) + grow(65535)), 1, abi.FaultTrap, "unreachable"},
		{"a trap after its own maximum refused more", []uint32{1, 8}, 2 * mebibyte, trap(grow(8)), 1, abi.FaultTrap, "unreachable"},
		{"a trap after its own maximum, which is the limit", []uint32{1, 32}, 2 * mebibyte, trap(grow(32)), 1, abi.FaultTrap, "unreachable"},
		{"a trap of one whose own maximum is larger", []uint32{1, 33}, 2 * mebibyte, trap(grow(32)), 1, abi.FaultLimit, refused + "unreachable"},
		{"a trap after it asked for more than any may have", []uint32{1}, 2 * mebibyte, trap(grow(65535) + grow(-1)), 1, abi.FaultTrap, "unreachable"},
		{"a limit that is no whole page", []uint32{1}, 2*mebibyte + abi.PageSize - 1, trap(grow(32)), 1, abi.FaultLimit, refused + "unreachable"},
		{"a limit that is no whole MiB", []uint32{1}, 3 * abi.PageSize, trap(grow(3)), 1, abi.FaultLimit, "memory limit: more than 0.1875 MiB was refused, then: unreachable"},
		{"a limit larger than any memory", []uint32{1}, 1 << 40, trap(grow(65534) + grow(1)), 1, abi.FaultTrap, "unreachable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			result := limited(t, growing(tt.pages, tt.body), tt.limit).run()
			f := result.Fault
			if result.Code != tt.code || (f != nil) != (tt.reason != "") {
				t.Fatalf("ended with %d, %+v", result.Code, f)
			}
			if f == nil {
				return
			}
			if f.Reason != tt.reason || f.Text != tt.text {
				t.Errorf("fault %+v, want %s %q", f, tt.reason, tt.text)
			}
			if trapped := tt.code == 1; strings.HasPrefix(f.Stack, "_start()") != trapped || !trapped && f.Stack != "" {
				t.Errorf("stack %q", f.Stack)
			}
		})
	}
}

func TestAModuleLargerThanTheLimit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pages []uint32
		limit int64
		text  string // "": it runs
	}{
		{"one page more", []uint32{33}, 2 * mebibyte, "memory limit: the module begins with 2.0625 MiB, the limit is 2 MiB; raise --memory"},
		{"with a maximum", []uint32{64, 64}, 2 * mebibyte, "memory limit: the module begins with 4 MiB, the limit is 2 MiB; raise --memory"},
		{"as much as any may have", []uint32{65535}, 2 * mebibyte, "memory limit: the module begins with 4095.9375 MiB, the limit is 2 MiB; raise --memory"},
		{"a limit of less than a page", []uint32{1}, 1, "memory limit: the module begins with 0.0625 MiB, the limit is 0 MiB; raise --memory"},
		{"as large as the limit", []uint32{32}, 2 * mebibyte, ""},
		{"nothing, and a limit of less than a page", []uint32{0}, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			result := limited(t, growing(tt.pages, func(func(int32) string) string { return "" }), tt.limit).run()
			f := result.Fault
			switch {
			case (f != nil) != (tt.text != ""):
				t.Fatalf("ended with %d, %+v", result.Code, f)
			case f != nil && (result.Code != 1 || f.Reason != abi.FaultLimit || f.Text != tt.text || f.Stack != ""):
				t.Errorf("ended with %d, %+v; want %q", result.Code, f, tt.text)
			}
		})
	}
}

// memory.grow answers -1, and what the guest has stays its own: it can live with the limit.
func TestAGuestLivesWithTheLimit(t *testing.T) {
	module := growing([]uint32{1}, func(func(int32) string) string {
		return put(0, i32(31)+memoryGrow) +
			put(4, i32(1)+memoryGrow) +
			put(8, memorySize) +
			i32(2*mebibyte-4) + i32(42) + store +
			put(12, i32(2*mebibyte-4)+load)
	})
	r := limited(t, module, 2*mebibyte)
	r.runOK()
	if r.u32(0) != 1 || r.u32(4) != 1<<32-1 || r.u32(8) != 32 || r.u32(12) != 42 || r.board.Memory != 2*mebibyte {
		t.Errorf("grow answers %d and %d; %d pages; the last word is %d; the board tells %d",
			int32(r.u32(0)), int32(r.u32(4)), r.u32(8), r.u32(12), r.board.Memory)
	}
}

func TestTheStartFunctionOfAGuestThatWasRefusedMemory(t *testing.T) {
	a := &assembly{}
	a.start = []uint32{a.fn("f", ">", 0, grow(32), unreachable)}
	a.fn("_start", ">", 0)
	f := limited(t, a.bytes(), 2*mebibyte).run().Fault
	if f == nil || f.Reason != abi.FaultLimit || !strings.HasPrefix(f.Text, "memory limit: more than 2 MiB was refused, then: ") ||
		!strings.HasSuffix(f.Text, "unreachable") {
		t.Errorf("fault %+v", f)
	}
}

// A trap inside a callback is told as it was there, also when the limit is to blame.
func TestTheCallbackOfAGuestThatWasRefusedMemory(t *testing.T) {
	_, _, result := callbackSteps(t, func(r *rig) {
		r.machine.limit = limitOf(2 * mebibyte)
		r.message("hello")
	}, func(a *assembly) (string, []string) {
		onMessage, dispatch := a.wcluster("on_message", "iiii"), a.wcluster("dispatch", "i")
		return grow(32) + unreachable, []string{callWith(onMessage, 1, 0, bufferAt, 100), callWith(dispatch, 0)}
	})
	f := result.Fault
	if f == nil || f.Reason != abi.FaultLimit || f.Text != "memory limit: more than 2 MiB was refused, then: unreachable" ||
		!strings.HasPrefix(f.Stack, "callback(") {
		t.Errorf("fault %+v", f)
	}
}

// However long the guest's own text is, the limit is told first and the whole stays within its bound.
func TestTheTextOfALimitIsBounded(t *testing.T) {
	l := memoryLimit{bytes: mebibyte, refused: true}
	f := l.blame(Result{Code: 1, Fault: &abi.Fault{Reason: abi.FaultTrap, Text: strings.Repeat("x", abi.MaxFaultText), Stack: "f()"}}).Fault
	if !strings.HasPrefix(f.Text, "memory limit: ") || len(f.Text) > abi.MaxFaultText || f.Stack != "f()" {
		t.Errorf("%d bytes: %.100q; stack %q", len(f.Text), f.Text, f.Stack)
	}
}

// Address space is reserved for what the guest may have, and no more.
func TestTheReservationIsAsSmallAsTheLimit(t *testing.T) {
	var size uint64
	for _, tt := range []struct {
		maximum uint64
		limit   int64
		want    int
	}{
		{1 << 32, mebibyte, mebibyte},
		{mebibyte, 2 * mebibyte, mebibyte},
		{mebibyte, 0, mebibyte},
		{mebibyte, 1, 0},
	} {
		limit := limitOf(tt.limit)
		m := reserve(tt.maximum, &size, &limit).(*linearMemory)
		if len(m.all) != tt.want {
			t.Errorf("%d bytes for at most %d with limit %d, want %d", len(m.all), tt.maximum, tt.limit, tt.want)
		}
		m.Free()
	}
}
