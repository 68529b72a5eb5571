package wasmworker

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

// inspect is Inspect for the report alone.
func inspect(tb testing.TB, module []byte) abi.Report {
	tb.Helper()
	report, err := Inspect(context.Background(), module, "", false)
	if err != nil {
		tb.Fatal(err)
	}
	return report
}

// wholesome is a module with a bit of everything.
func wholesome() *assembly {
	a := &assembly{names: true, data: "hello", pages: []uint32{1, 16}}
	write := a.wasi("fd_write", "iiii")
	a.wcluster("version", "")
	main := a.fn("main", ">", 0, put(0, i32(dataAt)), put(4, i32(5)), callWith(write, 1, 0, 1, 8), drop)
	a.fn("_start", ">", 0, invoke(main))
	a.table = []uint32{main}
	return a
}

func TestInspectOfAModuleThatRuns(t *testing.T) {
	module := wholesome().bytes()
	r := inspect(t, module)
	if r.Error != "" || r.Kind != abi.KindCommand || !r.Aware || r.Bytes != int64(len(module)) || len(r.Missing) != 0 {
		t.Errorf("report %+v", r)
	}
	if r.Memory == nil || r.Memory.MinPages != 1 || r.Memory.MaxPages == nil || *r.Memory.MaxPages != 16 {
		t.Errorf("memory %+v", r.Memory)
	}
	want := abi.Import{Module: "wasi_snapshot_preview1", Name: "fd_write", Signature: "func(i32, i32, i32, i32) i32", Provided: true}
	if len(r.Imports) != 2 || r.Imports[0] != want {
		t.Errorf("imports %+v", r.Imports)
	}
	if len(r.Exports) != 2 || r.Exports[0] != (abi.Export{Name: "_start", Signature: "func()"}) || r.Exports[1] != (abi.Export{Name: "memory", Signature: "memory"}) {
		t.Errorf("exports %+v", r.Exports)
	}
}

func TestInspectRefuses(t *testing.T) {
	command := func(change func(a *assembly)) []byte {
		a := &assembly{}
		change(a)
		if !strings.Contains(strings.Join(a.exports, ""), "_start") {
			a.fn("_start", ">", 0)
		}
		return a.bytes()
	}
	for _, tt := range []struct {
		name   string
		module []byte
		reason abi.Reason
		says   []string
	}{
		{"an empty file", nil, abi.ReasonNotWasm, []string{"empty"}},
		{"a text", []byte("hello, world"), abi.ReasonNotWasm, []string{"not a Wasm module"}},
		{"one byte", []byte{0}, abi.ReasonNotWasm, []string{"not a Wasm module"}},
		{"Wasm text", []byte("  (module (func))"), abi.ReasonNotWasm, []string{"wat2wasm"}},
		{"Wasm text behind a comment", []byte(";; hello\n(module)"), abi.ReasonNotWasm, []string{"wat2wasm"}},
		{"a native program", []byte("\x7fELF\x02\x01\x01\x00"), abi.ReasonNotWasm, []string{"native program"}},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), abi.ReasonComponent, []string{"component", "wasip1"}},
		{"a version to come", []byte("\x00asm\x02\x00\x00\x00"), abi.ReasonInvalid, []string{"version 2"}},
		{"a preamble cut off", []byte("\x00asm\x01\x00"), abi.ReasonInvalid, []string{"cut off"}},
		{"a preamble alone", []byte("\x00asm\x01\x00\x00\x00"), abi.ReasonNoEntry, []string{"_start"}},
		{
			"an import that nobody provides", command(func(a *assembly) { a.use("env", "emscripten_resize_heap", "i>i") }),
			abi.ReasonImport,
			[]string{"env.emscripten_resize_heap", "wasip1"},
		},
		{"many imports that nobody provides", command(func(a *assembly) {
			for _, name := range strings.Split("abcdefgh", "") {
				a.use("env", name, ">")
			}
		}), abi.ReasonImport, []string{"env.a, env.b, env.c, env.d, env.e and 3 more"}},
		{
			"a function of preview 1 with other parameters", command(func(a *assembly) { a.use("wasi_snapshot_preview1", "fd_write", "ii>i") }),
			abi.ReasonImport,
			[]string{"wasi_snapshot_preview1.fd_write as func(i32, i32) i32", "func(i32, i32, i32, i32) i32"},
		},
		{
			"a function of preview 1 without its result", command(func(a *assembly) { a.use("wasi_snapshot_preview1", "sched_yield", ">") }),
			abi.ReasonImport,
			[]string{"func() i32"},
		},
		{
			"a function of preview 0", command(func(a *assembly) { a.use("wasi_unstable", "fd_write", "iiii>i") }),
			abi.ReasonImport,
			[]string{"wasi_unstable.fd_write"},
		},
		{"an imported memory", command(func(a *assembly) {
			a.imports = append(a.imports, text("env")+text("memory")+"\x02\x00\x01")
			a.noMemory = true
		}), abi.ReasonImport, []string{"env.memory"}},
		{"an imported table", command(func(a *assembly) {
			a.imports = append(a.imports, text("env")+text("table")+"\x01\x70\x00\x01")
		}), abi.ReasonImport, []string{"env.table"}},
		{"an imported global", command(func(a *assembly) {
			a.imports = append(a.imports, text("env")+text("g")+"\x03\x7f\x00")
		}), abi.ReasonImport, []string{"env.g"}},
		{"a library", (&assembly{}).bytes(), abi.ReasonNoEntry, []string{"no _start"}},
		{"a reactor", func() []byte {
			a := &assembly{}
			a.export("on_message", 0, a.fn("on_message", ">", 0))
			return a.bytes()
		}(), abi.ReasonNoEntry, []string{"no _start"}},
		{"a _start that is no function", func() []byte {
			a := &assembly{}
			a.export("_start", 2, 0)
			return a.bytes()
		}(), abi.ReasonNoEntry, []string{"no _start"}},
		{"a _start with parameters", func() []byte {
			a := &assembly{}
			a.fn("_start", "i>", 0)
			return a.bytes()
		}(), abi.ReasonNoEntry, []string{"_start", "func(i32)"}},
		{"an _initialize with a result", func() []byte {
			a := &assembly{}
			a.fn("_start", ">", 0)
			a.fn("_initialize", ">i", 0, i32(0))
			return a.bytes()
		}(), abi.ReasonNoEntry, []string{"_initialize", "func() i32"}},
		{
			"host calls without a memory", command(func(a *assembly) { a.wasi("sched_yield", ""); a.noMemory = true }),
			abi.ReasonNoEntry,
			[]string{"does not export its memory"},
		},
		{
			"host calls and a memory of its own", command(func(a *assembly) { a.wasi("sched_yield", ""); a.noExport = true }),
			abi.ReasonNoEntry,
			[]string{"does not export its memory"},
		},
		{"exceptions", command(func(a *assembly) { a.tags = true; a.typeOf(">") }), abi.ReasonFeature, []string{"exceptions"}},
		{"a tail call", func() []byte {
			a := &assembly{}
			f := a.fn("f", ">", 0)
			a.fn("_start", ">", 0, "\x12"+leb(f))
			return a.bytes()
		}(), abi.ReasonFeature, []string{"not supported"}},
		{"an atomic", func() []byte {
			a := &assembly{}
			a.fn("_start", ">", 0, i32(0), "\xfe\x10\x02\x00", drop)
			return a.bytes()
		}(), abi.ReasonFeature, []string{"not supported"}},
		{"more memory than there can be", command(func(a *assembly) { a.pages = []uint32{memoryPages + 1} }), abi.ReasonFeature, []string{"more memory"}},
		{"a section that is no section", append(command(func(*assembly) {}), 0x55, 0), abi.ReasonInvalid, []string{"not valid Wasm"}},
		{"a body that does not validate", func() []byte {
			a := &assembly{}
			a.fn("_start", ">", 0, i32(0))
			return a.bytes()
		}(), abi.ReasonInvalid, []string{"not valid Wasm"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := inspect(t, tt.module)
			if r.Reason != tt.reason || strings.Contains(r.Error, "\n") {
				t.Errorf("reason %q: %q; want %q", r.Reason, r.Error, tt.reason)
			}
			for _, s := range tt.says {
				if !strings.Contains(r.Error, s) {
					t.Errorf("%q does not say %q", r.Error, s)
				}
			}
		})
	}
}

// A cut module is refused, unless the cut is between sections and what is left is a module of its own.
func TestInspectOfACutModule(t *testing.T) {
	module := wholesome().bytes()
	whole := map[int]bool{}
	for _, without := range []func(a *assembly){
		func(a *assembly) { a.names = false },
		func(a *assembly) { a.names, a.data = false, "" },
	} {
		a := wholesome()
		without(a)
		whole[len(a.bytes())] = true
	}
	for n := range len(module) {
		r := inspect(t, module[:n])
		if (r.Reason == "") != whole[n] || strings.Contains(r.Error, "\n") {
			t.Errorf("%d of %d bytes: reason %q, %q", n, len(module), r.Reason, r.Error)
		}
	}
}

func TestInspectOfADamagedModule(t *testing.T) {
	module := wholesome().bytes()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		damaged := append([]byte(nil), module...)
		for range 1 + rng.IntN(3) {
			damaged[rng.IntN(len(damaged))] = byte(rng.Uint32())
		}
		if r := inspect(t, damaged); (r.Reason == "") != (r.Error == "") || strings.Contains(r.Error, "\n") {
			t.Errorf("%x: reason %q, %q", damaged, r.Reason, r.Error)
		}
	}
}

func TestInspectFillsTheCache(t *testing.T) {
	dir := t.TempDir()
	module := wholesome().bytes()
	if _, err := Inspect(context.Background(), module, dir, false); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/*/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files in the cache, %v", len(files), err)
	}
	before, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	r := rigOf(t, Config{Module: module, CacheDir: dir})
	if err := r.machine.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(files[0])
	if err != nil || after.ModTime() != before.ModTime() {
		t.Errorf("the cache was written again, %v", err)
	}
	if _, err := Inspect(context.Background(), module, filepath.Join(dir, "none"), false); err == nil {
		t.Error("a cache that does not exist is no error")
	}
	r = rigOf(t, Config{Module: module, CacheDir: filepath.Join(dir, "none")})
	if err := r.machine.Load(context.Background()); err == nil {
		t.Error("a cache that does not exist is no error")
	}
}

// What the guests of the house import is provided.
func TestInspectOfTheGuests(t *testing.T) {
	files, err := filepath.Glob("../testdata/guests/*/*.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		module, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if r := inspect(t, module); r.Error != "" || r.Kind != abi.KindCommand {
			t.Errorf("%s: %s, %q", path, r.Kind, r.Error)
		}
	}
}
