package wasip1

import (
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

func TestArgsAndEnviron(t *testing.T) {
	g := newGuest(t, Config{Args: []string{"app", "", "-v"}, Env: []string{"K=V", "LANG=ö"}})
	for _, tt := range []struct {
		sizes, get string
		want       []string
	}{
		{"args_sizes_get", "args_get", []string{"app", "", "-v"}},
		{"environ_sizes_get", "environ_get", []string{"K=V", "LANG=ö"}},
	} {
		size := 0
		for _, s := range tt.want {
			size += len(s) + 1
		}
		g.want(0, tt.sizes, 0, 4)
		if g.u32(0) != uint32(len(tt.want)) || g.u32(4) != uint32(size) {
			t.Errorf("%s: %d strings of %d bytes, want %d of %d", tt.sizes, g.u32(0), g.u32(4), len(tt.want), size)
		}
		// At the very end of memory: not one byte more than it said.
		buf := uint32(memorySize - size)
		g.want(0, tt.get, 100, uint64(buf))
		for i, want := range tt.want {
			if got := g.text(g.u32(100 + 4*uint32(i))); got != want {
				t.Errorf("%s: string %d is %q, want %q", tt.get, i, got, want)
			}
		}
		g.want(abi.EFAULT, tt.get, 100, uint64(buf+1))
		g.want(abi.EFAULT, tt.get, uint64(memorySize-4*len(tt.want)+1), 1000)
		g.want(abi.EFAULT, tt.get, 100, 1<<32-1)
	}
}

func TestNoArgs(t *testing.T) {
	g := newGuest(t, Config{})
	g.want(0, "args_sizes_get", 0, 4)
	if g.u32(0) != 0 || g.u32(4) != 0 {
		t.Error("there are some")
	}
	g.want(0, "args_get", memorySize, memorySize)
	g.want(abi.EFAULT, "args_get", memorySize+1, 0)
}

func TestStringsWithZeroBytesAreRefused(t *testing.T) {
	for _, c := range []Config{{Args: []string{"a\x00b"}}, {Env: []string{"K=\x00"}}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

func TestClockTimeGet(t *testing.T) {
	g := newGuest(t, Config{})
	for _, tt := range []struct {
		name  string
		id    uint64
		errno Errno
	}{
		{"the time of day", clockRealtime, 0},
		{"the monotonic clock", clockMonotonic, 0},
		{"the processor time of the process", clockProcess, 0},
		{"the processor time of the thread", clockThread, 0},
		{"a clock after the last does not exist", 4, abi.EINVAL},
		{"the largest number is no clock", 1<<32 - 1, abi.EINVAL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g.want(tt.errno, "clock_res_get", tt.id, 0)
			g.want(tt.errno, "clock_time_get", tt.id, 1000, 8)
			if tt.errno != 0 {
				return
			}
			first := g.u64(8)
			g.want(0, "clock_time_get", tt.id, 0, 16)
			if g.u64(0) == 0 || first == 0 || g.u64(16) < first {
				t.Errorf("resolution %d, then %d and %d", g.u64(0), first, g.u64(16))
			}
		})
	}
	g.want(0, "clock_time_get", clockRealtime, 0, 0)
	if d := time.Since(time.Unix(0, int64(g.u64(0)))); d < 0 || d > patience {
		t.Errorf("the time of day is %v ago", d)
	}
	g.want(0, "clock_time_get", clockMonotonic, 0, 0)
	if now := g.sys.poller.Now(); int64(g.u64(0)) > now || int64(g.u64(0)) < now-int64(patience) {
		t.Error("the monotonic clock is not the poller's")
	}
}

func TestRandomGet(t *testing.T) {
	g := newGuest(t, Config{})
	g.want(0, "random_get", 16, 32)
	if zeros := string(make([]byte, 16)); string(g.mem[16:32]) == zeros || string(g.mem[32:48]) == zeros {
		t.Error("not filled")
	}
	if g.u64(0) != 0 || g.u64(8) != 0 || g.u64(48) != 0 {
		t.Error("more than the buffer is filled")
	}
	g.want(0, "random_get", 0, 0)
	g.want(0, "random_get", memorySize, 0)
	g.want(abi.EFAULT, "random_get", 1, memorySize)
}

func TestYieldAndRaise(t *testing.T) {
	g := newGuest(t, Config{})
	g.want(0, "sched_yield")
	g.want(abi.ENOTSUP, "proc_raise", 9)
}
