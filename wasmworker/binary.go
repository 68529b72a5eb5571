package wasmworker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wcluster/wcluster/abi"
)

// The little of the Wasm binary format that wazero does not tell of: what a file is when it is no module, imports and
// exports that are not functions, and lists that cannot be as long as they say. Everything here reads untrusted bytes
// and is bounded by their length.

// Preamble of a Wasm binary: the magic number, then a version of a module, or version and layer of a component.
var (
	wasmMagic     = []byte("\x00asm")
	moduleLayer   = []byte{1, 0, 0, 0}
	componentByte = byte(1) // the layer, at offset 6
)

// Sections of a module.
const (
	sectionCustom   = 0
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionTable    = 4
	sectionMemory   = 5
	sectionGlobal   = 6
	sectionExport   = 7
	sectionElement  = 9
	sectionCode     = 10
	sectionData     = 11
	sectionTag      = 13
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
	errTooLong = errors.New("the module is damaged: a list says that it is longer than its section")
	errUnknown = errors.New("the module holds what is not known here") // or is damaged
)

// sections reads the import and export sections of a module whose preamble classify has passed, and the lengths of all
// its lists. errCutOff: a section goes on after the module's end; errTooLong: a list goes on after its section's;
// errUnknown: something does not read as expected, and the rest of its section is not known.
func sections(b []byte) (outline, error) {
	var o outline
	var err error
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
			body.skim(id)
		default:
			body.skim(id)
		}
		switch {
		case body.tooLong:
			return o, errTooLong
		case body.failed:
			err = errUnknown
		}
	}
	return o, err
}

// reader takes values off the front of b. After failed everything it answers is zero.
type reader struct {
	b       []byte
	failed  bool
	tooLong bool // it has failed because something would go on after the end of b, or is no number
}

func (r *reader) runOut()  { r.b, r.failed, r.tooLong = nil, true, true }
func (r *reader) unknown() { r.b, r.failed = nil, true }

// join fails as part has, which was taken from r.
func (r *reader) join(part *reader) {
	r.failed, r.tooLong = r.failed || part.failed, r.tooLong || part.tooLong
}

func (r *reader) take(n uint32) []byte {
	if r.failed {
		return nil
	}
	if uint64(n) > uint64(len(r.b)) {
		r.runOut()
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
	if r.failed {
		return 0
	}
	v, n := binary.Uvarint(r.b[:min(len(r.b), 5)])
	if n <= 0 || v > 1<<32-1 {
		r.runOut()
		return 0
	}
	r.b = r.b[n:]
	return uint32(v)
}

// count reads how many items follow, each of at least size bytes.
func (r *reader) count(size int) uint32 {
	n := r.u32()
	if uint64(n)*uint64(size) > uint64(len(r.b)) {
		r.runOut()
		return 0
	}
	return n
}

func (r *reader) text() string { return string(r.take(r.count(1))) }

func (r *reader) imports() []external {
	var list []external
	for n := r.count(4); n > 0 && !r.failed; n-- {
		e := external{module: r.text(), name: r.text(), kind: r.byte()}
		r.skipType(e.kind)
		list = append(list, e)
	}
	return list
}

func (r *reader) exports() []external {
	var list []external
	for n := r.count(3); n > 0 && !r.failed; n-- {
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
		r.skipValueType()
		r.skipLimits()
	case 2: // memory: limits
		r.skipLimits()
	case 3: // global: a value type and mutability
		r.skipValueType()
		r.byte()
	case 4: // tag: an attribute and a type index
		r.byte()
		r.u32()
	default:
		r.unknown()
	}
}

// skipLimits skips a minimum and perhaps a maximum. Flags beyond that say that the numbers have 64 bits, or worse.
func (r *reader) skipLimits() {
	flags := r.byte()
	if flags > 3 {
		r.unknown()
	}
	r.u32()
	if flags&1 != 0 {
		r.u32()
	}
}
