package abi

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden has a frame of every kind, its body in full: what stands in testdata/golden is what travels.
var golden = []struct {
	h    Header
	body any // nil: none; []byte: itself; else as JSON
}{
	{Header{Kind: KindHello}, Hello{Protocol: 1, Build: "1.2.3"}},
	{Header{Kind: KindConfig, FDs: 4}, Config{
		ID: 3, Name: "app.wasm", Args: []string{"app", "-v"}, Env: []string{"WCLUSTER_WORKER_ID=3", "LISTEN_FDS=2"},
		CPUs: 4, MaxMessage: DefaultMaxMessage, CacheDir: "/var/cache/wcluster", Debug: true, GracefulTimeout: 30e9,
		Preopens: []Preopen{
			{Name: "web", Address: Address{Network: "tcp", Host: "::1", Port: 8000}},
			{Name: "admin", Address: Address{Network: "unix", Path: "/run/admin.sock"}},
		},
		Limits:  Limits{Memory: 64 << 20, FDs: 100, Connections: 50},
		Sandbox: Sandbox{Level: SandboxStrict, Layers: []Layer{LayerNamespaces, LayerSeccomp}, CPUSeconds: 10, FileBytes: 1 << 20},
	}},
	{Header{Kind: KindCompile, FDs: 1}, Compile{Name: "app.wasm", CacheDir: "/tmp/empty"}},
	{Header{Kind: KindCompiled}, Report{
		Error: "imports env.missing, which this build does not provide", Reason: ReasonImport, Kind: KindCommand, Aware: true,
		Imports: []Import{{Module: "wcluster", Name: "version", Signature: "func() i32", Provided: true}},
		Exports: []Export{{Name: "_start", Signature: "func()"}},
		Missing: []string{"env.missing"}, Memory: &Memory{MinPages: 2}, Bytes: 14_000,
	}},
	{Header{Kind: KindOnline}, nil},
	{Header{Kind: KindListen, Seq: 1}, Listen{
		Address: Address{Network: "tcp6", Host: "::", Port: 80}, Backlog: 128, Flags: ListenIPv6Only,
	}},
	{Header{Kind: KindListenDone, Seq: 1, FDs: 1}, ListenDone{Address: Address{Network: "tcp6", Host: "::", Port: 80}}},
	{Header{Kind: KindListening}, Listening{Address: Address{Network: "fd", Fd: 7}, Fd: 7}},
	{Header{Kind: KindMessage}, []byte("opaque \x00\xff bytes")},
	{Header{Kind: KindDisconnect}, nil},
	{Header{Kind: KindLeaving}, nil},
	{Header{Kind: KindNudge}, nil},
	{Header{Kind: KindPing, Seq: 9}, nil},
	{Header{Kind: KindPong, Seq: 9}, nil},
	{Header{Kind: KindFault}, Fault{Text: "unreachable", Stack: "main.main()\n_start()", Reason: FaultTrap}},
	{Header{Kind: KindDrained}, Drained{Cut: 2}},
	{Header{Kind: KindProbe}, nil},
	{Header{Kind: KindProbed}, Probed{Layers: []ProbedLayer{
		{Layer: LayerLandlock, Note: "ABI 7"}, {Layer: LayerMDWE, Error: "the kernel has no PR_SET_MDWE"},
	}}},
	{Header{Kind: KindRequest, Seq: 2}, Request{Op: OpFork, Env: []string{"ROLE=web"}}},
	{Header{Kind: KindResult, Seq: 2}, Result{ID: 3, Pid: 4711}},
	{Header{Kind: KindEvent}, Event{Kind: RecordExit, Worker: 3, Code: 1, Fault: "unreachable"}},
	{Header{Kind: KindPost}, AppendPost(nil, 3, []byte("hello"))},
}

func TestGoldenFrames(t *testing.T) {
	seen := map[Kind]bool{}
	for _, tt := range golden {
		seen[tt.h.Kind] = true
		t.Run(tt.h.Kind.String(), func(t *testing.T) {
			frame := encodeFrame(t, tt.h, tt.body)
			if _, err := DecodeHeader(frame, Master|Worker, DefaultMaxMessage); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, tt.h.Kind.String()+".hex", hex.Dump(frame))
		})
	}
	for k, name := range Kinds {
		if !seen[k] {
			t.Errorf("no golden frame of kind %s", name)
		}
	}
}

func encodeFrame(t *testing.T, h Header, v any) []byte {
	t.Helper()
	var body []byte
	switch v := v.(type) {
	case nil:
	case []byte:
		body = v
	default:
		var err error
		if body, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	h.Length = uint32(len(body))
	return append(h.AppendTo(nil), body...)
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(file), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("%s, line %d (-update rewrites it):\n got %s\nwant %s", path, i+1, line, strings.Join(want[min(i, len(want)):], "\n     "))
		}
	}
	if len(got) != len(file) {
		t.Fatalf("%s is longer than what was encoded:\n%s", path, got)
	}
}
