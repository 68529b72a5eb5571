package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/internal/hosttest"
)

// asProgram makes the test binary the example itself.
const asProgram = "COUNT_AS_PROGRAM"

func TestMain(m *testing.M) {
	host.Init()
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	hosttest.Main(m)
}

func TestEveryRequestIsCounted(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(self, "-n", "2", "-listen", "tcp://127.0.0.1:0", "-module", hosttest.Guest(t, "guests/count-c/count.wasm"))
	program.Env = []string{asProgram + "=1", "XDG_CACHE_HOME=" + t.TempDir()}
	program.Stderr = os.Stderr
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(30*time.Second, func() { program.Process.Kill() }).Stop()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("it says nothing")
	}
	_, address, ok := strings.Cut(lines.Text(), " listens on ")
	if !ok {
		t.Fatalf("it says %q", lines.Text())
	}
	const n = 25
	for range n {
		answer, err := http.Get("http://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	program.Process.Signal(syscall.SIGINT)
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	if err := program.Wait(); err != nil {
		t.Error(err)
	}
	if last != "numReqs = 25" {
		t.Errorf("the last line is %q", last)
	}
}
