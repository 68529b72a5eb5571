package wasmworker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wcluster/wcluster/abi"
)

// The little of the Wasm binary format that wazero does not tell of: what a file is when it is no module, and imports
// and exports that are not functions. Everything here reads untrusted bytes and is bounded by their length.

// Preamble of a Wasm binary: the magic number, then a version of a module, or version and layer of a component.
var (
	wasmMagic     = []byte("\x00asm")
	moduleLayer   = []byte{1, 0, 0, 0}
	componentByte = byte(1) // the layer, at offset 6
)

// Sections of a module.
const (
	sectionImport = 2
	sectionExport = 7
	sectionTag    = 13
)

// external is an import or an export.
type external struct {
	module, name string // module is "" for an export
	kind         byte
}

var externalKinds = [...]string{"func", "table", "memory", "global", "tag"}

const externalFunc = 0

// outline is what the sections of a module say.
type outline struct {
	imports, exports []external
	tags             bool // it has a tag section: it uses exceptions
}

// classify says what b is, before anything parses it: "" for a module, or why it is none.
func classify(b []byte) (abi.Reason, string) {
	switch {
	case len(b) == 0:
		return abi.ReasonNotWasm, "the file is empty; give a .wasm file built for wasip1"
	case !bytes.HasPrefix(b, wasmMagic):
		hint := ""
		switch {
		case bytes.HasPrefix(b, []byte("\x7fELF")):
			hint = "it is a native program: "
		case bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("(module")), bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte(";;")):
			hint = "it is Wasm text; turn it into a binary with wat2wasm: "
		}
		return abi.ReasonNotWasm, "not a Wasm module: " + hint + "give a .wasm file built for wasip1"
	case len(b) < 8:
		return abi.ReasonInvalid, "the module is cut off after its first bytes; build or copy it again"
	case bytes.Equal(b[4:8], moduleLayer):
		return "", ""
	case b[6] == componentByte:
		return abi.ReasonComponent, "a Wasm component, and only core modules run here; build it for wasip1 (wasm32-wasip1, GOOS=wasip1) instead of wasip2"
	default:
		return abi.ReasonInvalid, fmt.Sprintf("version %d of the Wasm binary format, and only 1 is known", binary.LittleEndian.Uint32(b[4:]))
	}
}

var (
	errCutOff  = errors.New("the module is cut off")
	errUnknown = errors.New("the module holds what is not known here") // or is damaged
)

// sections reads the import and export sections of a module whose preamble classify has passed. errCutOff: a section goes
// on after the module's end; errUnknown: a section that is there does not read as expected.
func sections(b []byte) (outline, error) {
	var o outline
	r := reader{b: b[8:]}
	for len(r.b) > 0 {
		id, size := r.byte(), r.u32()
		body := reader{b: r.take(size)}
		if r.failed {
			return o, errCutOff
		}
		switch id {
		case sectionImport:
			o.imports = body.imports()
		case sectionExport:
			o.exports = body.exports()
		case sectionTag:
			o.tags = true
		}
		if body.failed {
			return o, errUnknown
		}
	}
	return o, nil
}

// reader takes values off the front of b. After failed everything it answers is zero.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) take(n uint32) []byte {
	if r.failed || uint64(n) > uint64(len(r.b)) {
		r.failed = true
		return nil
	}
	t := r.b[:n]
	r.b = r.b[n:]
	return t
}

func (r *reader) byte() byte {
	if t := r.take(1); t != nil {
		return t[0]
	}
	return 0
}

// u32 reads an unsigned LEB128 number.
func (r *reader) u32() uint32 {
	v, n := binary.Uvarint(r.b[:min(len(r.b), 5)])
	if n <= 0 || v > 1<<32-1 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return uint32(v)
}

func (r *reader) text() string { return string(r.take(r.u32())) }

func (r *reader) imports() []external {
	var list []external
	for n := r.u32(); n > 0 && !r.failed; n-- {
		e := external{module: r.text(), name: r.text(), kind: r.byte()}
		r.skipType(e.kind)
		list = append(list, e)
	}
	return list
}

func (r *reader) exports() []external {
	var list []external
	for n := r.u32(); n > 0 && !r.failed; n-- {
		e := external{name: r.text(), kind: r.byte()}
		r.u32()
		list = append(list, e)
	}
	return list
}

// skipType skips the type of an import.
func (r *reader) skipType(kind byte) {
	switch kind {
	case 0: // function: a type index
		r.u32()
	case 1: // table: an element type and limits
		r.byte()
		r.skipLimits()
	case 2: // memory: limits
		r.skipLimits()
	case 3: // global: a value type and mutability
		r.take(2)
	case 4: // tag: an attribute and a type index
		r.byte()
		r.u32()
	default:
		r.failed = true
	}
}

func (r *reader) skipLimits() {
	bounded := r.byte()&1 != 0
	r.u32()
	if bounded {
		r.u32()
	}
}
