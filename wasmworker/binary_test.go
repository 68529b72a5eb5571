package wasmworker

import (
	"errors"
	"strings"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

// A list that says it is longer than it can be must not reach wazero, which would make room for it.
func TestListsThatAreTooLong(t *testing.T) {
	const most = "\xff\xff\xff\xff\x0f" // 4294967295
	for _, tt := range []struct {
		name    string
		section string
	}{
		{"types", raw(1, most)},
		{"a type's parameters", raw(1, "\x01\x60"+most+"\x00")},
		{"a type's results", raw(1, "\x01\x60\x00"+most)},
		{"imports", raw(2, most)},
		{"the name of an import", raw(2, "\x01"+most+"\x00\x00\x00")},
		{"functions", raw(3, most)},
		{"tables", raw(4, most)},
		{"memories", raw(5, most)},
		{"globals", raw(6, most)},
		{"globals after the first", raw(6, "\x03\x7f\x00\x41\x00\x0b")},
		{"exports", raw(7, most)},
		{"exports, of which there are none", raw(7, "\x01")},
		{"elements", raw(9, most)},
		{"functions of an element", raw(9, "\x01\x00\x41\x00\x0b"+most)},
		{"functions of a passive element", raw(9, "\x01\x01\x00"+most)},
		{"functions of an element with a table", raw(9, "\x01\x02\x00\x41\x00\x0b\x00"+most)},
		{"functions of a declared element", raw(9, "\x01\x03\x00"+most)},
		{"expressions of an element", raw(9, "\x01\x04\x41\x00\x0b"+most)},
		{"expressions of a passive element", raw(9, "\x01\x05\x70"+most)},
		{"expressions of an element with a table", raw(9, "\x01\x06\x00\x41\x00\x0b\x70"+most)},
		{"expressions of a declared element", raw(9, "\x01\x07\x70"+most)},
		{"bodies", raw(10, most)},
		{"a body", raw(10, "\x01"+most+"\x00\x00")},
		{"local variables", raw(10, "\x01\x08\x01"+most+"\x7f\x0b")},
		{"many local variables", raw(10, "\x01\x06\x01"+leb(maxLocals+1)+"\x7f\x0b")},
		{"groups of local variables", raw(10, "\x01\x07"+most+"\x7f\x0b")},
		{"data", raw(11, most)},
		{"the bytes of data", raw(11, "\x01\x00\x41\x00\x0b"+most)},
		{"the bytes of passive data", raw(11, "\x01\x01"+most)},
		{"the bytes of data with a memory", raw(11, "\x01\x02\x00\x41\x00\x0b"+most)},
		{"tags", raw(13, most)},
		{"the name of a custom section", raw(0, most)},
		{"the name of the module", raw(0, text("name")+raw(0, most))},
		{"the names of functions", raw(0, text("name")+raw(1, most))},
		{"the name of a function", raw(0, text("name")+raw(1, "\x01\x00"+most))},
		{"the names of local variables", raw(0, text("name")+raw(2, most))},
		{"the names of local variables of a function", raw(0, text("name")+raw(2, "\x01\x00"+most))},
		{"a part of the names", raw(0, text("name")+"\x01"+most)},
		{"a count that goes on behind its section", raw(7, "\xff") + "\xff\xff\xff\x0f"},
		{"a count that goes on behind its part of the names", raw(0, text("name")+raw(1, "\xff")+"\xff\xff\xff\x0f")},
		{"a number of six bytes", raw(3, "\x01\x80\x80\x80\x80\x80\x00")},
		{"a number of more than 32 bits", raw(3, "\x01\xff\xff\xff\xff\x1f")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			module := []byte("\x00asm\x01\x00\x00\x00" + tt.section)
			if _, err := sections(module); !errors.Is(err, errTooLong) {
				t.Fatalf("error %v", err)
			}
			if r := inspect(t, module); r.Reason != abi.ReasonInvalid || !strings.Contains(r.Error, "damaged") {
				t.Errorf("reason %q: %q", r.Reason, r.Error)
			}
		})
	}
}

// What is not known here is left to wazero, and what is known is read all the same.
func TestSectionsThatAreNotKnown(t *testing.T) {
	export := section(7, text("f")+"\x00\x00")
	for _, tt := range []struct {
		name    string
		section string
		want    error
	}{
		{"a structure among the types", raw(1, "\x02\x5f\xff\xff\xff\xff\x0f"), errUnknown},
		{"a table with an initial value", raw(4, "\x01\x40\x00\x70\x00\x01\xd0\x70\x0b"), errUnknown},
		{"a memory of 64 bits", raw(5, "\x01\x04\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), errUnknown},
		{"an import of a kind to come", raw(2, "\x01\x00\x00\x09\x00"), errUnknown},
		{"an instruction in a constant", raw(6, "\x01\x7f\x00\x41\x01\x41\x01\x6a\x0b"), errUnknown},
		{"an element of a form to come", raw(9, "\x01\x08\x00\x00"), errUnknown},
		{"data of a form to come", raw(11, "\x01\x03\x00"), errUnknown},
		{"a signed number without an end", raw(6, "\x01\x7f\x00\x41"+strings.Repeat("\x80", 11)+"\x0b"), errUnknown},
		{"a section that is no section", raw(99, "\xff\xff\xff\xff\x0f"), nil},
		{"a custom section", raw(0, text("other")+"\xff\xff\xff\xff\x0f"), nil},
		{"a part of the names that is not known", raw(0, text("name")+raw(9, "\xff\xff\xff\xff\x0f")), nil},
		{"constants of all types", raw(6, "\x07"+
			"\x7f\x00\x41\x00\x0b"+"\x7e\x00\x42\x80\x7f\x0b"+"\x7d\x00\x43\x00\x00\x00\x00\x0b"+"\x7c\x00\x44\x00\x00\x00\x00\x00\x00\x00\x00\x0b"+
			"\x70\x00\xd0\x70\x0b"+"\x70\x00\xd2\x00\x0b"+"\x7b\x00\xfd\x0c"+strings.Repeat("\x00", 16)+"\x0b"), nil},
		{"typed references", raw(1, "\x01\x60\x02\x63\x70\x64\x6f\x00"), nil},
		{"as many local variables as there may be", raw(10, "\x01\x06\x01"+leb(maxLocals)+"\x7f\x0b"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := sections([]byte("\x00asm\x01\x00\x00\x00" + tt.section + export))
			if !errors.Is(err, tt.want) || len(o.exports) != 1 {
				t.Errorf("%d exports, error %v; want %v", len(o.exports), err, tt.want)
			}
		})
	}
}

func TestSectionsThatAreCutOff(t *testing.T) {
	for _, cut := range []string{"\x01", "\x01\x05", "\x01\x05\x00\x00", "\x01\xff\xff\xff\xff\x0f", "\x00\x80"} {
		if _, err := sections([]byte("\x00asm\x01\x00\x00\x00" + cut)); !errors.Is(err, errCutOff) {
			t.Errorf("%x: error %v", cut, err)
		}
	}
}
