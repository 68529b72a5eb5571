package master

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// fresh gives a cluster a cache of its own.
func fresh(t testing.TB) func(*Settings) {
	dir := t.TempDir()
	return func(s *Settings) { s.CacheDir = dir }
}

func entries(t testing.TB, c *Cluster, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(c.Settings().CacheDir, "v2", pattern))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPrepareCompilesOnce(t *testing.T) {
	own := fresh(t)
	c := cluster(t, "good", own, listenOn(tcp(0)))
	var steps []Step
	progress := func(s Stage) {
		steps = append(steps, s.Step)
		if s.Module != "good.wasm" || (s.Bytes == 0) != (s.Step == StepRead) {
			t.Errorf("stage %+v", s)
		}
	}
	report, err := c.Prepare(t.Context(), progress)
	if err != nil {
		t.Fatal(err)
	}
	if report.Kind != abi.KindCommand || !report.Aware {
		t.Errorf("report %+v", report)
	}
	if a := c.Listeners(); len(a) != 1 || a[0].Port == 0 {
		t.Errorf("listeners %v", a)
	}
	if again, err := c.Prepare(t.Context(), progress); err != nil || again.Kind != report.Kind {
		t.Errorf("again: %+v, %v", again, err)
	}
	if want := []Step{StepRead, StepListen, StepSandbox, StepCompile, StepReady}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	if left := entries(t, c, "tmp-*"); len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
	key := entries(t, c, "*")
	if len(key) != 1 || len(filepath.Base(key[0])) != 64 {
		t.Fatalf("entries %v", key)
	}

	// Another start finds it. Its host could not compile.
	other := cluster(t, "good", own, func(s *Settings) { s.Host = "/nonexistent" })
	steps = nil
	report, err = other.Prepare(t.Context(), progress)
	if err != nil || report.Kind != abi.KindCommand {
		t.Fatalf("from the cache: %+v, %v", report, err)
	}
	if want := []Step{StepRead, StepListen, StepSandbox, StepCached, StepReady}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}

	// A broken entry is compiled anew.
	for _, spoil := range []func() error{
		func() error { return os.WriteFile(filepath.Join(key[0], "code"), []byte("short"), 0o600) },
		func() error { return os.WriteFile(filepath.Join(key[0], "report.json"), []byte("{"), 0o600) },
		func() error { return os.Remove(filepath.Join(key[0], "code")) },
		func() error { return os.WriteFile(filepath.Join(key[0], "more"), nil, 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		steps = nil
		c := cluster(t, "good", own)
		if _, err := c.Prepare(t.Context(), progress); err != nil || !slices.Contains(steps, StepCompile) {
			t.Errorf("after an entry was broken: %v, %v", steps, err)
		}
		if text, err := os.ReadFile(filepath.Join(key[0], "code")); err != nil || string(text) != "native code" {
			t.Errorf("code %q, %v", text, err)
		}
		if left := entries(t, c, "tmp-*"); len(left) > 0 {
			t.Errorf("left in the cache: %v", left)
		}
	}
}

func TestPrepareErrorsAreOneClearLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.wasm")
	os.WriteFile(empty, nil, 0o600)
	shared := filepath.Join(dir, "shared")
	os.MkdirAll(filepath.Join(shared, "v2"), 0o700)
	os.Chmod(filepath.Join(shared, "v2"), 0o777)
	tests := []struct {
		name, role string
		change     func(*Settings)
		op         Step
		reason     abi.Reason
		want       string
	}{
		{"no module", "good", func(s *Settings) { s.Exec = "" }, StepRead, "", "no module to run"},
		{"no such file", "good", func(s *Settings) { s.Exec = dir + "/none.wasm" }, StepRead, "", "none.wasm: no such file"},
		{"a directory", "good", func(s *Settings) { s.Exec = dir }, StepRead, "", "it is a directory; give the path of a .wasm file"},
		{"an empty file", "good", func(s *Settings) { s.Exec = empty }, StepRead, "", "empty.wasm: the file is empty"},
		{"address in use", "good", listenOn(tcp(uint16(taken.Addr().(*net.TCPAddr).Port))), StepListen, "", "address already in use (another program"},
		{"not Wasm", "not-wasm", nil, StepCompile, abi.ReasonNotWasm, "run module not-wasm.wasm: it is not Wasm: give a .wasm file"},
		{"a fault", "compile-fault", nil, StepCompile, "", "compile module compile-fault.wasm: out of memory"},
		{"a crash", "compile-dies", nil, StepCompile, "", "ended with exit code 2: panic: compiler defect"},
		{"a broken protocol", "compile-breaks", nil, StepCompile, "", "online is not permitted while compiling"},
		{"a link in the cache", "compile-link", nil, StepCompile, "", "code is not a plain file"},
		{"nothing in the cache", "compile-nothing", nil, StepCompile, "", "has left nothing"},
		{"no host", "good", func(s *Settings) { s.Host = "/nonexistent/wcluster" }, StepCompile, "", "start /nonexistent/wcluster: no such file"},
		{"a cache that others can write to", "good", func(s *Settings) { s.CacheDir = shared }, StepCompile, "", "others can write to it"},
		{"a cache that cannot be made", "good", func(s *Settings) { s.CacheDir = "/proc/none" }, StepCompile, "", "use cache directory /proc/none: no such file or directory; choose another"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			change := []func(*Settings){fresh(t)}
			if tt.change != nil {
				change = append(change, tt.change)
			}
			c := cluster(t, tt.role, change...)
			_, err := c.Fork()
			var p *PrepareError
			if !errors.As(err, &p) || p.Op != tt.op || p.Reason != tt.reason {
				t.Fatalf("error %#v", err)
			}
			if text := err.Error(); !strings.Contains(text, tt.want) || strings.Contains(text, "\n") {
				t.Errorf("%q, want %q in one line", text, tt.want)
			}
			if len(c.Listeners()) != 0 {
				t.Error("listeners are open")
			}
			if left := entries(t, c, "*"); len(left) > 0 {
				t.Errorf("left in the cache: %v", left)
			}
		})
	}
	if _, err := readModule(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestPrepareCanBeTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := cluster(t, "good", listenOn(tcp(0), tcp(uint16(taken.Addr().(*net.TCPAddr).Port))))
	if _, err := c.Prepare(t.Context(), nil); err == nil {
		t.Fatal("no error")
	}
	taken.Close()
	if _, err := c.Prepare(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if len(c.Listeners()) != 2 {
		t.Errorf("listeners %v", c.Listeners())
	}
}

func TestPrepareEndsWithItsContextAndWithClose(t *testing.T) {
	c := cluster(t, "compile-hangs", fresh(t))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Prepare(ctx, func(s Stage) {
		if s.Step == StepCompile {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	_, err = c.Prepare(context.Background(), func(s Stage) {
		if s.Step == StepCompile {
			go c.Close()
		}
	})
	if err == nil {
		t.Error("no error after Close")
	}
}

func TestTheModuleIsReadOnce(t *testing.T) {
	c := cluster(t, "good")
	if _, err := c.Prepare(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(c.Settings().Exec, []byte("something else"), 0o600)
	fd, err := c.prepared.module.open()
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd.Take()), "module")
	defer file.Close()
	text := make([]byte, 100)
	n, _ := file.Read(text)
	if !strings.HasPrefix(string(text[:n]), "\x00asm") {
		t.Errorf("the module is %q now", text[:n])
	}
	fork(t, c)
}

func TestCacheKeyDependsOnAllThatCodeDependsOn(t *testing.T) {
	a := cacheKey([32]byte{1}, false)
	if a != cacheKey([32]byte{1}, false) || len(a) != 64 {
		t.Error("not a function")
	}
	if a == cacheKey([32]byte{2}, false) || a == cacheKey([32]byte{1}, true) {
		t.Error("two keys are equal")
	}
	if cpuFeatures() == "" {
		t.Error("no cpu features")
	}
}

func TestTheFasterCompilerWins(t *testing.T) {
	c, err := makeCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	commit := func(text string) {
		t.Helper()
		dir, err := c.begin()
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(dir, "code"), []byte(text), 0o600)
		if err := c.commit(dir, "key", abi.Report{Kind: abi.KindCommand}); err != nil {
			t.Fatal(err)
		}
	}
	commit("first")
	commit("second")
	if text, _ := os.ReadFile(filepath.Join(c.path("key"), "code")); string(text) != "first" {
		t.Errorf("the entry is %q", text)
	}
	if left, _ := filepath.Glob(filepath.Join(c.root, "tmp-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	var e entry
	text, _ := os.ReadFile(filepath.Join(c.path("key"), reportFile))
	if err := json.Unmarshal(text, &e); err != nil || e.Files["code"] != 5 {
		t.Errorf("report %s: %v", text, err)
	}
}

func TestTheSweepRemovesWhatIsOld(t *testing.T) {
	c, err := makeCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	old, _ := os.MkdirTemp(c.root, "tmp-")
	young, _ := os.MkdirTemp(c.root, "tmp-")
	os.WriteFile(filepath.Join(old, "code"), nil, 0o600)
	past := time.Now().Add(-2 * staleAfter)
	os.Chtimes(old, past, past)
	c.sweep(time.Now())
	if _, err := os.Stat(old); err == nil {
		t.Error("the old one is there")
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young one: %v", err)
	}
}

func TestTheDefaultCache(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", home)
	c, err := openCache("")
	if err != nil || c.root != filepath.Join(home, "wcluster", "v2") || c.temp != "" {
		t.Errorf("cache %+v, %v", c, err)
	}
	t.Setenv("XDG_CACHE_HOME", "/proc/none")
	t.Setenv("TMPDIR", t.TempDir())
	c, err = openCache("")
	if err != nil || c.temp == "" {
		t.Fatalf("without a home: %+v, %v", c, err)
	}
	c.release()
	if _, err := os.Stat(c.temp); err == nil {
		t.Error("the temporary cache is there")
	}
}

// A cache that was emptied while the cluster runs costs a compilation, not the next worker.
func TestACacheThatWasEmptiedIsFilledAgain(t *testing.T) {
	dir := t.TempDir()
	c := cluster(t, "good", func(s *Settings) { s.CacheDir = dir })
	r := record(c)
	r.of(t, fork(t, c), EventOnline)
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, path := range all {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	r.of(t, fork(t, c), EventOnline)
	if c.prepared.cache.lost(c.prepared.cacheDir) {
		t.Error("there is no entry")
	}
}
