package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// needStrict skips where this host lacks a layer, with the reason.
func needStrict(t *testing.T) {
	t.Helper()
	out, err := newCommand([]string{"doctor"}).CombinedOutput()
	if err != nil {
		t.Skipf("workers cannot be locked down fully here: %v\n%s", err, out)
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	cmd := newCommand([]string{"doctor", "--json"})
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != exitSandbox {
		t.Fatalf("%v, %s", err, out)
	}
	var d diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Layers) != len(abi.Layers) || d.Kernel == "" || d.Strict != (err == nil) {
		t.Errorf("%+v", d)
	}
	for i, l := range d.Layers {
		if l.Layer != abi.Layers[i] || l.Present != (l.Error == "") || l.Required != l.Layer.Required() {
			t.Errorf("layer %d is %+v", i, l)
		}
	}
	text, _ := newCommand([]string{"doctor"}).Output()
	for _, l := range abi.Layers {
		if !bytes.Contains(text, []byte("\n"+string(l)+" ")) {
			t.Errorf("there is no line about %s:\n%s", l, text)
		}
	}
}

// TestSandboxIsTold: which level the workers have is said at the start, in both formats.
func TestSandboxIsTold(t *testing.T) {
	t.Parallel()
	needStrict(t)
	for level, line := range map[string]string{
		"auto":   `^wcluster: workers are locked down \(sandbox strict\)$`,
		"strict": `^wcluster: workers are locked down \(sandbox strict\)$`,
		"log":    `^wcluster: workers are NOT locked down: what the sandbox would refuse is logged \(sandbox log\)$`,
		"off":    `^wcluster: workers are NOT locked down \(sandbox off\)$`,
	} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			c := start(t, []string{"run", guest(t, helloC), "-n", "1", "--listen", anyPort, "--sandbox", level})
			c.awaitErr(1, line)
			address := bound(t, c)
			visitAll(t, "tcp", address, 1)
			c.stops()
			holds := map[string]string{"auto": "strict", "strict": "strict", "log": "log", "off": "off"}[level]
			j := start(t, []string{"run", guest(t, printer), "-n", "1", "--json", "--sandbox", level})
			j.exits(0)
			j.await(j.stdout, 1, `"event":"sandbox","sandbox":"`+holds+`","asked":"`+level+`"`)
			j.await(j.stdout, 1, `"event":"online".*"sandbox":"`+holds+`"`)
		})
	}
}

// TestWithoutNamespaces runs the command where nobody may make namespaces: in a user namespace whose own limit is 0.
func TestWithoutNamespaces(t *testing.T) {
	t.Parallel()
	needStrict(t)
	inside := func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" "$@"`}, cmd.Args...)
		cmd.Path = "/bin/sh"
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
	}
	t.Run("strict refuses, naming the layer and what to do", func(t *testing.T) {
		refuses(t, newCommand([]string{"run", guest(t, helloC), "--sandbox", "strict"}, inside), exitSandbox,
			"strictly", "lacks namespaces", "no space left on device", "user.max_user_namespaces")
	})
	t.Run("auto does what it can and says what is missing", func(t *testing.T) {
		c := start(t, []string{"run", guest(t, helloC), "-n", "1", "--listen", anyPort, "--sandbox", "auto"}, inside)
		c.awaitErr(1, `^wcluster: workers are locked down in part \(sandbox partial; see "wcluster doctor"\)$`)
		c.awaitErr(1, `^wcluster: the sandbox lacks namespaces: .*user.max_user_namespaces`)
		c.awaitErr(1, `^wcluster: the sandbox lacks mounts: needs namespaces$`)
		visitAll(t, "tcp", bound(t, c), 1)
		c.stops()
	})
	t.Run("doctor says so", func(t *testing.T) {
		cmd := newCommand([]string{"doctor"}, inside)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != exitSandbox || !bytes.Contains(out, []byte("MISSING")) || !bytes.Contains(out, []byte("strict refuses to start")) {
			t.Errorf("exit code %d:\n%s", cmd.ProcessState.ExitCode(), out)
		}
	})
}

// TestCPUWithoutACgroup: --cpu is a promise that only a cgroup keeps.
func TestCPUWithoutACgroup(t *testing.T) {
	t.Parallel()
	out, err := newCommand([]string{"doctor", "--json"}).Output()
	var d diagnosis
	if json.Unmarshal(out, &d) != nil {
		t.Fatal(err)
	}
	if d.CPU {
		t.Skip("this process has a delegated cgroup with the cpu controller")
	}
	refuses(t, newCommand([]string{"run", guest(t, helloC), "--sandbox", "strict", "--cpu", "0.5"}), exitSandbox, "0.5 CPUs", "cgroup")
	c := start(t, []string{"run", guest(t, exit42), "-n", "1", "--restart", "never", "--cpu", "0.5", "--sandbox", "auto"})
	c.exits(42)
	c.awaitErr(1, `^wcluster: --cpu has no effect: .*cgroup`)
}

// TestCPULimit needs a delegated cgroup: a guest that spins gets no more than its share.
func TestCPULimit(t *testing.T) {
	t.Parallel()
	out, _ := newCommand([]string{"doctor", "--json"}).Output()
	var d diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	if !d.CPU {
		t.Skip("no cpu controller of cgroup v2 here: " + d.CPUNote)
	}
	c := start(t, []string{"run", guest(t, "testdata/guests/spin/spin.wasm"), "-n", "1", "--cpu", "0.2"})
	c.awaitErr(1, `online`)
	const span = 2 * time.Second
	time.Sleep(span) // the thing measured is how little it gets
	c.signal(syscall.SIGTERM)
	c.signal(syscall.SIGTERM)
	<-c.ended
	if spent := c.cmd.ProcessState.UserTime(); spent > span/2 {
		t.Errorf("a worker with 0.2 CPUs has used %v in %v", spent, span)
	}
}

// TestLimitsAreNamed: what ends a worker because of a limit says which, and the worker is replaced.
func TestLimitsAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, module, path string
		args               []string
		line               string
	}{
		{"cpu-time", moody, "/spin", []string{"--cpu-time", "1s"}, `killed by SIGKILL: cpu-time limit: it has used .* of CPU, at most 1s; raise --cpu-time`},
		{"timeout", moody, "/spin", []string{"--timeout", "1s"}, `killed by SIGKILL: stuck: no host call for 1s`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, append([]string{"run", guest(t, c.module), "-n", "2", "--listen", anyPort, "--json"}, c.args...))
			address := strings.TrimPrefix(r.await(r.stdout, 1, `"event":"listener".*"address":"(tcp://[^"]*)"`)[0][1], "tcp://")
			r.await(r.stdout, 2, `"event":"listening"`)
			ask(t, address, c.path)
			m := r.await(r.stdout, 1, `"event":"exit","worker":([12]),"exit":.*"reason":"(limit|stuck)","fault":"([^"]*)"`)[0]
			if got := "killed by SIGKILL: " + m[3]; !matches(c.line, got) {
				t.Errorf("the exit says %q, want %s", got, c.line)
			}
			r.await(r.stdout, 1, `"event":"replaced","worker":3,"replaces":`+m[1])
			r.await(r.stdout, 1, `"event":"listening","worker":3`)
			left := 3 - int(m[1][0]-'0')
			visitAll(t, "tcp", address, left, 3)
			r.stops()
		})
	}
}

// growsTable is a module that takes memory beside its own: a table that it makes larger, by a million entries at a time,
// for ever. Its loop is ref.null func, i32.const 1048576, table.grow 0, drop, br 0.
const growsTable = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x04\x04\x01\x70\x00\x00" +
	"\x07\x0a\x01\x06_start\x00\x00\x0a\x14\x01\x12\x00\x03\x40\xd0\x70\x41\x80\x80\xc0\x00\xfc\x0f\x00\x1a\x0c\x00\x0b\x0b"

// TestMemoryOfTheProcess: what a guest makes its process hold beside its memory is bounded as well.
func TestMemoryOfTheProcess(t *testing.T) {
	t.Parallel()
	module := filepath.Join(t.TempDir(), "table.wasm")
	write(t, module, []byte(growsTable))
	c := start(t, []string{"run", module, "-n", "1", "--memory", "1M", "--restart", "never"})
	c.exits(exitSignal + int(syscall.SIGKILL))
	c.awaitErr(1, `^wcluster: worker 1 killed by SIGKILL: memory limit: the process holds \d+ MiB, \d+ more than the guest's own 1 MiB; raise --memory$`)
}

// ask sends a request and does not wait for the answer.
func ask(t *testing.T, address, path string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

func TestBadLimits(t *testing.T) {
	t.Parallel()
	hello := guest(t, helloC)
	for _, c := range []struct {
		flag, value string
		says        []string
	}{
		{"--memory", "lots", []string{"64M"}},
		{"--memory", "1000", []string{"64K to"}},
		{"--memory", "100001K", []string{"a multiple of 64K"}},
		{"--memory", "5G", []string{"64K to"}},
		{"--cpu", "0", []string{"0.01 to 1024"}},
		{"--cpu", "NaN", []string{"0.01 to 1024"}},
		{"--cpu-time", "1500ms", []string{"a multiple of 1s"}},
		{"--max-fds", "4", []string{"5 to 65536"}},
		{"--max-connections", "0", []string{"1 to 65536"}},
		{"--max-message", "65M", []string{"1 to 64M"}},
		{"--sandbox", "stric", []string{"did you mean strict?"}},
	} {
		t.Run(c.flag+" "+c.value, func(t *testing.T) {
			t.Parallel()
			refuses(t, newCommand([]string{"run", hello, c.flag, c.value}), exitUsage, append(c.says, fmt.Sprintf("%s %q", c.flag, c.value))...)
		})
	}
}
