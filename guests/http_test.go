package guests_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wcluster/wcluster/guests/httpcases"
	"github.com/wcluster/wcluster/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestNativeServer runs hello-c's own sources as a native process, with sanitizers where there are any, so that a
// wrong step in the parser is found without a Wasm host between.
func TestNativeServer(t *testing.T) {
	server := startNative(t)
	before := server.descriptors(t)
	t.Run("cases", func(t *testing.T) { httpcases.Run(t, server.addr) })
	t.Run("garbage", func(t *testing.T) { httpcases.Garbage(t, server.addr, 1, 3000) })
	t.Run("a slow reader", func(t *testing.T) { httpcases.SlowReader(t, server.addr) })
	server.waitForDescriptors(t, before)
}

// TestAddress holds a server that runs already to the same cases: WCLUSTER_HTTP_ADDR=127.0.0.1:8000.
func TestAddress(t *testing.T) {
	addr := os.Getenv("WCLUSTER_HTTP_ADDR")
	if addr == "" {
		t.Skip("WCLUSTER_HTTP_ADDR names no server")
	}
	t.Run("cases", func(t *testing.T) { httpcases.Run(t, addr) })
	t.Run("garbage", func(t *testing.T) { httpcases.Garbage(t, addr, uint64(time.Now().UnixNano()), 3000) })
	t.Run("a slow reader", func(t *testing.T) { httpcases.SlowReader(t, addr) })
}

// TestParserIsSplitInvariant fuzzes the parser for a bounded time, beginning with the table's requests.
func TestParserIsSplitInvariant(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("no clang: the fuzzer is clang's")
	}
	dir := t.TempDir()
	fuzzer := filepath.Join(dir, "fuzz")
	build := exec.Command(clang, "-O1", "-g", "-fsanitize=fuzzer,address,undefined", "-Ihello-c", "-o", fuzzer,
		"fuzz-c/main.c", "hello-c/http.c")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("clang has no fuzzer here: %s", out)
	}
	for i, c := range httpcases.Cases() {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("case%d", i)), []byte(c.Request), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.Command(fuzzer, "-seed=1", "-runs=100000", "-max_len=600", "-artifact_prefix="+dir+"/", dir)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// A native is a running bench/peers/native-c with one worker.
type native struct {
	addr   string
	worker string // its process id
}

func startNative(t *testing.T) *native {
	t.Helper()
	cmd := exec.Command(buildNative(t), "0", "1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // killed: there is always an error
		if stderr.Len() > 0 {
			t.Errorf("the server said: %s", &stderr)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the server said nothing: %v", err)
	}
	n := &native{addr: strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), worker: onlyChild(t, cmd.Process.Pid)}
	n.greet(t)
	return n
}

// greet waits for a first answer: from then on the worker has opened all that it will.
func (n *native) greet(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || len(answer) == 0 {
		t.Fatalf("the first answer is %q, %v", answer, err)
	}
}

func buildNative(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no C compiler: apt-get install gcc")
	}
	server := filepath.Join(t.TempDir(), "native-c")
	build := func(cflags string) ([]byte, error) {
		cmd := exec.Command("sh", "../bench/peers/native-c/build.sh", server)
		cmd.Env = append(os.Environ(), "CC=gcc", "CFLAGS="+cflags)
		return cmd.CombinedOutput()
	}
	out, err := build("-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all")
	if err == nil {
		return server
	}
	t.Logf("without sanitizers: %s", out)
	if out, err := build("-O2"); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return server
}

// onlyChild waits until the process has forked its worker.
func onlyChild(t *testing.T, pid int) string {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		children, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if fields := strings.Fields(string(children)); len(fields) == 1 {
			return fields[0]
		}
	}
	t.Fatal("the server forked no worker")
	return ""
}

func (n *native) descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/" + n.worker + "/fd")
	if err != nil {
		t.Fatalf("the worker is gone: %v", err)
	}
	return len(entries)
}

// waitForDescriptors allows for the lingering of the last connections.
func (n *native) waitForDescriptors(t *testing.T, want int) {
	t.Helper()
	got := -1
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if got = n.descriptors(t); got <= want {
			return
		}
	}
	t.Errorf("%d descriptors are open, %d were at the start", got, want)
}
