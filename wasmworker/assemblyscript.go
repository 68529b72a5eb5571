package wasmworker

import (
	"context"
	"encoding/binary"
	"fmt"
	"unicode/utf16"

	"github.com/tetratelabs/wazero/api"

	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// maxAbortText bounds what is read of an abort's message, in UTF-16 units.
const maxAbortText = 1024

// assemblyScript is module "env" with the one function that every AssemblyScript module imports:
// abort(message, file, line, column). It ends the guest with that text.
func (m *Machine) assemblyScript() []wasip1.Function {
	return []wasip1.Function{{
		Name: "abort", Params: wasip1.Signature("iiii"), Results: nil,
		Call: func(_ context.Context, mod api.Module, p []uint64) {
			mem := wasip1.Memory{Memory: mod.Memory()}
			panic(fmt.Errorf("abort: %s at %s:%d:%d", asString(mem, u32(p[0])), asString(mem, u32(p[1])), u32(p[2]), u32(p[3])))
		},
	}}
}

// asString reads an AssemblyScript string: UTF-16, its length in bytes four bytes before it.
func asString(mem wasip1.Memory, ptr uint32) string {
	if ptr < 4 {
		return "(none)"
	}
	size, ok := mem.ReadUint32Le(ptr - 4)
	if !ok {
		return "(unreadable)"
	}
	b, errno := mem.Bytes(ptr, min(size, 2*maxAbortText)&^1)
	if errno != 0 {
		return "(unreadable)"
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
