package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestProcessStat(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want processStat
	}{
		"an ordinary name":                  {"12 (nginx) S 1 12 12 0 -1 4194560 155", processStat{12, 1, "nginx", 'S'}},
		"a name with a space":               {"12 (nginx: worker) R 7 12", processStat{12, 7, "nginx: worker", 'R'}},
		"a name with parentheses":           {"12 ((sd-pam)) S 7 12", processStat{12, 7, "(sd-pam)", 'S'}},
		"a name that looks like what comes": {"12 (a) S 99 (b) Z 7 12", processStat{12, 7, "a) S 99 (b", 'Z'}},
		"a name with a line end":            {"12 (a\nb) S 7 12\n", processStat{12, 7, "a\nb", 'S'}},
		"an empty name":                     {"12 () S 0 0", processStat{12, 0, "", 'S'}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseProcessStat(c.line); err != nil || got != c.want {
				t.Errorf("%q: %+v, %v, want %+v", c.line, got, err, c.want)
			}
		})
	}
	for _, line := range []string{"", "12", "12 (a", "12 (a) ", "12 (a) S", "12 (a) SS 7", "x (a) S 7", "12 (a) S x"} {
		if got, err := parseProcessStat(line); err == nil {
			t.Errorf("%q: %+v, want an error", line, got)
		}
	}
}

func TestKilobytes(t *testing.T) {
	rollup := "560541e59000-7ffec6e76000 ---p 00000000 00:00 0                          [rollup]\n" +
		"Rss:                1688 kB\nPss:                 366 kB\nPss_Dirty:           116 kB\n"
	status := "Name:\tVmRSS:\nVmPeak:\t    9000 kB\nVmRSS:\t    1688 kB\nThreads:\t1\n"
	for _, c := range []struct {
		text, key string
		want      int64
	}{{rollup, "Rss", 1688 * 1024}, {rollup, "Pss", 366 * 1024}, {status, "VmRSS", 1688 * 1024}} {
		if got, err := parseKilobytes([]byte(c.text), c.key); err != nil || got != c.want {
			t.Errorf("%s: %d, %v, want %d", c.key, got, err, c.want)
		}
	}
	for _, c := range []struct{ text, key string }{{rollup, "Swap"}, {status, "Threads"}, {"Pss: many kB\n", "Pss"}, {"", "Pss"}} {
		if got, err := parseKilobytes([]byte(c.text), c.key); err == nil {
			t.Errorf("%s in %q: %d, want an error", c.key, c.text, got)
		}
	}
}

func TestMachineBusy(t *testing.T) {
	const stat = "cpu  100 10 50 9000 800 7 3 30 99 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
	if got, err := parseMachineBusy(stat); err != nil || got != 2*time.Second {
		t.Errorf("busy: %v, %v, want 2s: user, nice, system, irq, softirq, steal", got, err)
	}
	for _, stat := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 x 4 5 6 7 8"} {
		if got, err := parseMachineBusy(stat); err == nil {
			t.Errorf("%q: %v, want an error", stat, got)
		}
	}
}

// A server may have threads that come and go.
func TestCPUTimeIncludesThreadsThatHaveEnded(t *testing.T) {
	const work = 30 * time.Millisecond
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		for start, now := before, before; now-start < work; {
			now, _ = cpuTime(os.Getpid())
		}
	}()
	<-done
	after, err := cpuTime(os.Getpid())
	if err != nil || after-before < work {
		t.Errorf("after %v of work in a thread: %v, %v", work, after-before, err)
	}
}

func TestCPUTimeOfNoProcess(t *testing.T) {
	// Above the largest pid, which is 1<<22 (proc(5), pid_max).
	if got, err := cpuTime(1 << 23); err == nil {
		t.Errorf("a process that cannot be has used %v", got)
	}
}

func TestDescendantsAreFoundAcrossGenerations(t *testing.T) {
	// What a shell runs in the background reads /dev/null unless it is told otherwise.
	cmd := exec.Command("sh", "-c", "{ sh -c 'echo; read wait' <&3 & } 3<&0; echo; wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no shell: %v", err)
	}
	defer cmd.Wait()
	defer in.Close()
	for lines := 0; lines < 2; lines++ {
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	below, err := descendants(os.Getpid())
	if err != nil || !slices.Contains(pids(below), cmd.Process.Pid) || len(below) < 2 {
		t.Errorf("below us: %+v, %v, want the shell %d and its child", below, err, cmd.Process.Pid)
	}
	children, err := descendants(cmd.Process.Pid)
	if err != nil || len(children) != 1 || children[0].parent != cmd.Process.Pid {
		t.Errorf("below the shell: %+v, %v, want one", children, err)
	}
}
