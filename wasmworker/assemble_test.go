package wasmworker

import (
	"encoding/binary"
	"strings"
)

// An assembler for the modules of the tests: what they do is a list of instructions in the test itself.

// assembly is a module being made. Imports come before functions, since they share their numbers.
type assembly struct {
	types   []string // letters of parameters, '>', letters of results: i is i32, I is i64
	imports []string // encoded
	defined []definition
	exports []string // encoded

	functions uint32 // imports and functions
	noMemory  bool
	noExport  bool     // of the memory
	pages     []uint32 // minimum, and maximum if it has one; default 1
	table     []uint32 // functions from index 1 on; nil: no table
	start     []uint32 // the start function, if any
	data      string   // at dataAt
	tags      bool
	names     bool
}

// dataAt is where data stands in memory.
const dataAt = 4096

type definition struct {
	name, signature string
	locals          uint32 // of type i32
	body            string
}

func (a *assembly) typeOf(signature string) uint32 {
	for i, t := range a.types {
		if t == signature {
			return uint32(i)
		}
	}
	a.types = append(a.types, signature)
	return uint32(len(a.types) - 1)
}

// use imports a function and answers its number.
func (a *assembly) use(module, name, signature string) uint32 {
	a.imports = append(a.imports, text(module)+text(name)+"\x00"+leb(a.typeOf(signature)))
	a.functions++
	return a.functions - 1
}

// wasi and wcluster import a function that answers an errno.
func (a *assembly) wasi(name, params string) uint32 {
	return a.use("wasi_snapshot_preview1", name, params+">i")
}

func (a *assembly) wcluster(name, params string) uint32 { return a.use("wcluster", name, params+">i") }

// fn defines a function and answers its number. A name makes it an export when it is one of entries.
func (a *assembly) fn(name, signature string, locals uint32, body ...string) uint32 {
	a.defined = append(a.defined, definition{name, signature, locals, strings.Join(body, "")})
	a.typeOf(signature)
	a.functions++
	if name == "_start" || name == "_initialize" {
		a.export(name, 0, a.functions-1)
	}
	return a.functions - 1
}

func (a *assembly) export(name string, kind byte, index uint32) {
	a.exports = append(a.exports, text(name)+string(kind)+leb(index))
}

// bytes is the module.
func (a *assembly) bytes() []byte {
	var types, functions, code, names []string
	for _, t := range a.types {
		params, results, _ := strings.Cut(t, ">")
		types = append(types, "\x60"+valueTypes(params)+valueTypes(results))
	}
	for i, d := range a.defined {
		functions = append(functions, leb(a.typeOf(d.signature)))
		locals := leb(0)
		if d.locals > 0 {
			locals = leb(1) + leb(d.locals) + "\x7f"
		}
		body := locals + d.body + "\x0b"
		code = append(code, leb(uint32(len(body)))+body)
		names = append(names, leb(a.functions-uint32(len(a.defined))+uint32(i))+text(d.name))
	}
	m := "\x00asm\x01\x00\x00\x00" + section(1, types...) + section(2, a.imports...) + section(3, functions...)
	if a.table != nil {
		m += section(4, "\x70\x00"+leb(uint32(len(a.table)+1)))
	}
	exports := a.exports
	if !a.noMemory {
		m += section(5, a.limits())
		if !a.noExport {
			exports = append(exports, text("memory")+"\x02\x00")
		}
	}
	if a.tags {
		m += section(13, "\x00"+leb(a.typeOf(">")))
	}
	m += section(7, exports...)
	if a.start != nil {
		m += raw(8, leb(a.start[0]))
	}
	if len(a.table) > 0 {
		element := "\x00" + i32(1) + "\x0b" + leb(uint32(len(a.table)))
		for _, f := range a.table {
			element += leb(f)
		}
		m += section(9, element)
	}
	m += section(10, code...)
	if a.data != "" {
		m += section(11, "\x00"+i32(dataAt)+"\x0b"+text(a.data))
	}
	if a.names {
		m += raw(0, text("name")+raw(1, leb(uint32(len(names)))+strings.Join(names, "")))
	}
	return []byte(m)
}

func (a *assembly) limits() string {
	switch len(a.pages) {
	case 0:
		return "\x00\x01"
	case 1:
		return "\x00" + leb(a.pages[0])
	}
	return "\x01" + leb(a.pages[0]) + leb(a.pages[1])
}

// raw is a section, section one that holds a list.
func raw(id byte, content string) string {
	return string([]byte{id}) + leb(uint32(len(content))) + content
}

func section(id byte, list ...string) string {
	if len(list) == 0 {
		return ""
	}
	return raw(id, leb(uint32(len(list)))+strings.Join(list, ""))
}

func leb(n uint32) string { return string(binary.AppendUvarint(nil, uint64(n))) }

func sleb(n int64) string {
	var b []byte
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return string(append(b, c))
		}
		b = append(b, c|0x80)
	}
}

func text(s string) string { return leb(uint32(len(s))) + s }

func valueTypes(letters string) string {
	b := leb(uint32(len(letters)))
	for _, l := range letters {
		b += string([]byte{map[rune]byte{'i': 0x7f, 'I': 0x7e}[l]})
	}
	return b
}

// Instructions.
const (
	unreachable = "\x00"
	drop        = "\x1a"
	add         = "\x6a"
	end         = "\x0b"
	load        = "\x28\x02\x00" // i32.load
	store       = "\x36\x02\x00" // i32.store
	memoryGrow  = "\x40\x00"
	memorySize  = "\x3f\x00"
)

func i32(n int32) string       { return "\x41" + sleb(int64(n)) }
func i64(n int64) string       { return "\x42" + sleb(n) }
func local(n uint32) string    { return "\x20" + leb(n) }
func setLocal(n uint32) string { return "\x21" + leb(n) }
func invoke(f uint32) string   { return "\x10" + leb(f) }

// put stores what code answers at ptr.
func put(ptr int32, code ...string) string { return i32(ptr) + strings.Join(code, "") + store }

// callWith calls f with i32 parameters.
func callWith(f uint32, params ...int32) string {
	s := ""
	for _, p := range params {
		s += i32(p)
	}
	return s + invoke(f)
}
