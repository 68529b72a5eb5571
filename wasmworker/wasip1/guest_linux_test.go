package wasip1

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// fakeMemory is a guest's memory without a guest. What a test does not expect to be called panics on the nil interface.
type fakeMemory struct {
	api.Memory
	b []byte
}

// at is the n bytes from offset on, or nil when they are not all inside.
func (m *fakeMemory) at(offset uint32, n uint64) []byte {
	if uint64(offset)+n > uint64(len(m.b)) {
		return nil
	}
	return m.b[uint64(offset) : uint64(offset)+n : uint64(offset)+n]
}

func (m *fakeMemory) Read(offset, n uint32) ([]byte, bool) {
	b := m.at(offset, uint64(n))
	return b, b != nil
}

func (m *fakeMemory) ReadUint32Le(offset uint32) (uint32, bool) {
	b := m.at(offset, 4)
	if b == nil {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b), true
}

func (m *fakeMemory) WriteUint16Le(offset uint32, v uint16) bool {
	b := m.at(offset, 2)
	if b == nil {
		return false
	}
	binary.LittleEndian.PutUint16(b, v)
	return true
}

func (m *fakeMemory) WriteUint32Le(offset, v uint32) bool {
	b := m.at(offset, 4)
	if b == nil {
		return false
	}
	binary.LittleEndian.PutUint32(b, v)
	return true
}

func (m *fakeMemory) WriteUint64Le(offset uint32, v uint64) bool {
	b := m.at(offset, 8)
	if b == nil {
		return false
	}
	binary.LittleEndian.PutUint64(b, v)
	return true
}

type fakeModule struct {
	api.Module
	memory *fakeMemory
}

func (m *fakeModule) Memory() api.Memory { return m.memory }

// memorySize is what a test's guest has; its end is where bad pointers point.
const memorySize = 64 << 10

// testGuest calls preview 1 as a guest does: through the import table, with parameters on a stack.
type testGuest struct {
	tb        testing.TB
	sys       *System
	mem       []byte
	module    *fakeModule
	functions map[string]Function
	stack     [16]uint64
}

func newGuest(tb testing.TB, c Config) *testGuest {
	tb.Helper()
	return guestOf(tb, newSystem(tb, c))
}

func guestOf(tb testing.TB, s *System) *testGuest {
	g := &testGuest{tb: tb, sys: s, mem: make([]byte, memorySize), functions: map[string]Function{}}
	g.module = &fakeModule{memory: &fakeMemory{b: g.mem}}
	for _, f := range s.Functions() {
		g.functions[f.Name] = f
	}
	return g
}

// garbage stands in the upper half of every i32, as it may.
const garbage = uint64(0xdeadbeef) << 32

// call calls an import.
func (g *testGuest) call(name string, params ...uint64) Errno {
	f, ok := g.functions[name]
	if !ok || len(params) != len(f.Params) {
		g.tb.Fatalf("%s with %d parameters: there is no such import", name, len(params))
	}
	for i, p := range params {
		if f.Params[i] == api.ValueTypeI32 {
			p = p&0xffffffff | garbage
		}
		g.stack[i] = p
	}
	f.Call(context.Background(), g.module, g.stack[:max(len(params), len(f.Results))])
	if g.stack[0]>>16 != 0 {
		g.tb.Errorf("%s answers %#x, which is no errno", name, g.stack[0])
	}
	return Errno(g.stack[0])
}

// want calls an import and fails the test unless it answers errno.
func (g *testGuest) want(errno Errno, name string, params ...uint64) {
	g.tb.Helper()
	if got := g.call(name, params...); got != errno {
		g.tb.Errorf("%s(%v) answers %v, want %v", name, params, got, errno)
	}
}

func (g *testGuest) u32(ptr uint32) uint32 { return binary.LittleEndian.Uint32(g.mem[ptr:]) }
func (g *testGuest) u64(ptr uint32) uint64 { return binary.LittleEndian.Uint64(g.mem[ptr:]) }

// iovec stores an iovec at ptr.
func (g *testGuest) iovec(ptr, buf, n uint32) {
	binary.LittleEndian.PutUint32(g.mem[ptr:], buf)
	binary.LittleEndian.PutUint32(g.mem[ptr+4:], n)
}

// text is what stands at ptr up to a zero byte.
func (g *testGuest) text(ptr uint32) string {
	b, _, _ := bytes.Cut(g.mem[ptr:], []byte{0})
	return string(b)
}
