package wasmworker

import (
	"context"
	"strings"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

// seeds are modules and what is almost one.
func seeds(f *testing.F) {
	whole := wholesome().bytes()
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x02\xff\xff\xff\xff\x0f"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x07\x05\xff\xff\xff\xff\x0f"))
	a := &assembly{tags: true, pages: []uint32{1, 2}}
	a.imports = []string{text("env") + text("t") + "\x01\x70\x01\x01\x02", text("env") + text("m") + "\x02\x00\x01", text("env") + text("g") + "\x03\x7f\x01"}
	a.use("env", "abort", "iiii>")
	a.fn("_start", ">", 0)
	f.Add(a.bytes())
}

// FuzzSections reads the outline of random bytes: it must end, and name no more than the bytes can hold.
func FuzzSections(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, module []byte) {
		if reason, why := classify(module); reason != "" {
			if why == "" || strings.Contains(why, "\n") {
				t.Errorf("%q: %q", reason, why)
			}
			return
		}
		o, err := sections(module)
		if n := 4*len(o.imports) + 3*len(o.exports); n > 2*len(module) {
			t.Errorf("%d imports and %d exports in %d bytes, %v", len(o.imports), len(o.exports), len(module), err)
		}
	})
}

// FuzzInspect inspects random bytes: whatever they are, the report says it in one line.
func FuzzInspect(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, module []byte) {
		r, err := Inspect(context.Background(), module[:min(len(module), 4096)], "", false)
		if err != nil {
			t.Fatal(err)
		}
		if (r.Reason == "") != (r.Error == "") || strings.Contains(r.Error, "\n") {
			t.Errorf("reason %q: %q", r.Reason, r.Error)
		}
		// wazero itself panics at some modules that nobody would write, such as those kept in testdata/fuzz: it is caught,
		// and told as such.
		if r.Reason == abi.ReasonInternal && !strings.Contains(r.Error, "the compiler failed") {
			t.Errorf("%q", r.Error)
		}
	})
}
