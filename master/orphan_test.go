package master

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// masterVariable makes the test binary a master of its own, for the test that kills it.
const masterVariable = "WCLUSTER_TEST_MASTER"

// playMaster forks one worker for each module in dir, prints their process numbers once they run, and waits for ever.
func playMaster(dir string) {
	modules, _ := filepath.Glob(filepath.Join(dir, "*.wasm"))
	for _, module := range modules {
		c := New()
		check(c.SetupMaster(Settings{Exec: module, CacheDir: filepath.Join(dir, "cache"), Silent: true, Sandbox: abi.SandboxOff}))
		ready := make(chan struct{}, 1)
		c.On(EventMessage, func(e Event) { ready <- struct{}{} })
		w, err := c.Fork()
		check(err)
		check(w.Send([]byte("echo ready")))
		<-ready
		fmt.Println(w.Process().Pid())
	}
	fmt.Println("ready")
	select {}
}

func TestNoWorkerOutlivesAKilledMaster(t *testing.T) {
	dir := t.TempDir()
	for _, role := range []string{"good", "spins", "ignores-term"} {
		if err := os.Rename(moduleFile(t, role), filepath.Join(dir, role+".wasm")); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	master := exec.Command(self)
	master.Env = []string{masterVariable + "=" + dir}
	master.Stderr = os.Stderr
	out, err := master.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	var workers []string
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
		workers = append(workers, lines.Text())
	}
	if len(workers) != 3 {
		t.Errorf("workers %v", workers)
	}
	master.Process.Kill()
	master.Wait()
	killed := time.Now()
	for _, pid := range workers {
		if !eventually(func() bool { return hasEnded(pid) }) {
			t.Errorf("worker %s lives", pid)
		}
	}
	if took := time.Since(killed); took > time.Second {
		t.Errorf("the last worker was there for %v", took)
	}
}

// hasEnded is whether a process is gone, or is a zombie that its new parent has not waited for.
func hasEnded(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}
