package wasmworker

import (
	"context"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

var noLimit = limitOf(0)

func TestLinearMemoryGrowsInPlace(t *testing.T) {
	const page = 65536
	var size uint64
	m := reserve(16*page, &size, &noLimit)
	defer m.Free()
	b := m.Reallocate(page)
	if len(b) != page || size != page {
		t.Fatalf("%d bytes, told %d", len(b), size)
	}
	b[0], b[page-1] = 1, 2
	for n := 2; n <= 16; n++ {
		grown := m.Reallocate(uint64(n) * page)
		if len(grown) != n*page || cap(grown) != n*page || size != uint64(n)*page {
			t.Fatalf("%d bytes of %d, told %d", len(grown), cap(grown), size)
		}
		if unsafe.SliceData(grown) != unsafe.SliceData(b) || grown[0] != 1 || grown[page-1] != 2 || grown[n*page-1] != 0 {
			t.Fatal("it has moved, or lost its contents")
		}
	}
	if m.Reallocate(17*page) != nil || size != 16*page {
		t.Errorf("grown beyond its maximum, told %d", size)
	}
}

func TestLinearMemoryOfNothing(t *testing.T) {
	var size uint64
	m := reserve(0, &size, &noLimit)
	if b := m.Reallocate(0); len(b) != 0 {
		t.Error("not empty")
	}
	m.Free()
	m = reserve(65536, &size, &noLimit)
	if b := m.Reallocate(0); b == nil || len(b) != 0 {
		t.Error("no room is not the same as none yet")
	}
	m.Free()
	m.Free() // twice is once
}

// sealedMemory is a memory that the kernel refuses to make usable beyond its first page: a file that is open for reading
// alone.
func sealedMemory(t *testing.T, used uint64, size *uint64) *linearMemory {
	t.Helper()
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := unix.Mmap(int(f.Fd()), 0, 4*65536, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	return &linearMemory{all: all, size: size, used: used, made: used > 0, limit: &noLimit}
}

// wazero cannot be told otherwise that there is no room, and a guest's end must be told as any other.
func TestAGuestWithoutMemoryIsAFault(t *testing.T) {
	var size uint64
	for _, memory := range []func() experimental.LinearMemory{
		func() experimental.LinearMemory { return reserve(1<<62, &size, &noLimit) },
		func() experimental.LinearMemory { return sealedMemory(t, 0, &size) },
	} {
		r := newRig(t, start(func(*assembly) string { return "" }))
		ctx := experimental.WithMemoryAllocator(context.Background(), experimental.MemoryAllocatorFunc(
			func(_, _ uint64) experimental.LinearMemory { return memory() }))
		_, err := r.machine.instantiate(ctx)
		if err == nil || !strings.HasPrefix(err.Error(), "make the guest's memory: ") {
			t.Errorf("error %v", err)
		}
		f := resultOf(err, abi.FaultStart).Fault
		if f == nil || !strings.Contains(f.Text, ": m") || strings.Contains(f.Text, "runtime error") {
			t.Errorf("fault %+v", f)
		}
	}
}

// When the kernel has no more, memory.grow answers -1.
func TestAMemoryThatCannotGrow(t *testing.T) {
	var size uint64
	m := sealedMemory(t, 65536, &size)
	defer m.Free()
	if m.Reallocate(2*65536) != nil || size != 0 {
		t.Errorf("grown into what cannot be written, told %d", size)
	}
	if b := m.Reallocate(65536); len(b) != 65536 || size != 65536 {
		t.Errorf("%d bytes, told %d", len(b), size)
	}
}

func TestPageUp(t *testing.T) {
	page := uint64(unix.Getpagesize())
	for _, tt := range []struct{ size, limit, want uint64 }{
		{0, page, 0}, {1, page, page}, {page, page, page}, {page + 1, 4 * page, 2 * page}, {page + 1, page + 5, page + 5},
	} {
		if got := pageUp(tt.size, tt.limit); got != tt.want {
			t.Errorf("pageUp(%d, %d) is %d, want %d", tt.size, tt.limit, got, tt.want)
		}
	}
}

// A guest grows page by page to its maximum, keeps what it has written, and is refused more.
func TestAGuestGrowsItsMemory(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pages []uint32
		most  uint32
	}{
		{"up to its maximum", []uint32{1, 32}, 32},
		{"from nothing", []uint32{0, 32}, 32},
		{"not at all", []uint32{3, 3}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &assembly{pages: tt.pages}
			// Grow by one until that fails: local 0 is the number of pages. Each new page gets its number.
			a.fn("_start", ">", 1, memorySize+setLocal(0)+
				"\x02\x40\x03\x40"+
				i32(1)+memoryGrow+i32(-1)+"\x46\x0d\x01"+ // br_if out when grow answers -1
				local(0)+i32(16)+"\x74"+local(0)+store+ // page<<16: its number
				local(0)+i32(1)+add+setLocal(0)+"\x0c\x00"+end+end)
			r := newRig(t, a.bytes())
			r.runOK()
			if r.board.Memory != uint64(tt.most)*65536 {
				t.Errorf("the board tells %d pages, want %d", r.board.Memory/65536, tt.most)
			}
			for page := tt.pages[0]; page < tt.most; page++ {
				if got := r.u32(page << 16); got != page {
					t.Errorf("page %d holds %d", page, got)
				}
			}
		})
	}
}

// Almost four gigabytes are reserved and cost nothing until they are used.
func TestAGuestMayHaveAlmostFourGigabytes(t *testing.T) {
	for _, pages := range [][]uint32{{1}, {1, 65536}} {
		a := &assembly{pages: pages}
		a.fn("_start", ">", 0,
			put(0, i32(65535)+memoryGrow), // all of it: wazero could not count it
			put(4, i32(65534)+memoryGrow),
			put(8, i32(1)+memoryGrow),
			i32(-65540)+i32(42)+store, // the last word
			put(12, i32(-65540)+load))
		r := newRig(t, a.bytes())
		r.runOK()
		if r.u32(0) != 1<<32-1 || r.u32(4) != 1 || r.u32(8) != 1<<32-1 || r.u32(12) != 42 || r.board.Memory != memoryPages<<16 {
			t.Errorf("grow answers %d, %d, %d; the last word is %d; the board tells %d",
				int32(r.u32(0)), int32(r.u32(4)), int32(r.u32(8)), r.u32(12), r.board.Memory)
		}
	}
}

// At the end of the largest memory, and beyond, pointers plus lengths do not fit 32 bits.
func TestPointersAtTheEndOfTheLargestMemory(t *testing.T) {
	a := &assembly{pages: []uint32{1}}
	random := a.wasi("random_get", "ii")
	args := a.wasi("args_get", "ii")
	clock := a.wasi("clock_time_get", "iIi")
	receive := a.wcluster("receive", "iii")
	const end = -65536
	a.fn("_start", ">", 0, i32(65534)+memoryGrow+drop,
		put(0, callWith(random, end-8, 8)),
		put(4, callWith(random, end-8, 9)),
		put(8, callWith(random, end-8, -1)),
		put(12, callWith(random, -8, 8)),
		put(16, callWith(random, -1, -1)),
		put(20, callWith(random, -8, 8+65536)),
		put(24, callWith(args, 100, end-4)), // "app" and its zero
		put(28, callWith(args, 100, end-3)),
		put(32, callWith(args, -4, 100)),
		put(36, i32(1)+i64(0)+i32(end-8)+invoke(clock)),
		put(40, i32(1)+i64(0)+i32(end-7)+invoke(clock)),
		put(44, i32(1)+i64(0)+i32(-8)+invoke(clock)),
		put(48, callWith(receive, end-1, 1, end-16)),
		put(52, callWith(receive, end-1, 2, end-16)),
		put(56, callWith(receive, 0, -1, end-16)),
		put(60, callWith(receive, 0, 1, -16)))
	r := newRig(t, a.bytes())
	r.runOK()
	const bad = abi.EFAULT
	wantErrnos(t, r.errnos(0, 16), 0, bad, bad, bad, bad, bad, 0, bad, bad, 0, bad, bad, abi.EAGAIN, bad, bad, bad)
}
