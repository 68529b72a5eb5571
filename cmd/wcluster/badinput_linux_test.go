package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Modules that are none, or cannot run. A component begins like a module, with another layer in its preamble; section 13
// is that of tags, which exceptions need; the last imports "env.missing" of type func().
var brokenModules = map[string]string{
	"empty.wasm":      "",
	"text.wasm":       "hello, world\n",
	"component.wasm":  "\x00asm\x0d\x00\x01\x00",
	"exceptions.wasm": "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x0d\x03\x01\x00\x00",
	"import.wasm":     "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x02\x0f\x01\x03env\x07missing\x00\x00",
	"library.wasm":    "\x00asm\x01\x00\x00\x00",
}

// startTrap has a start section, whose function traps before _start is called.
const startTrap = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00" +
	"\x07\x0a\x01\x06_start\x00\x00\x08\x01\x00\x0a\x05\x01\x03\x00\x00\x0b"

// writeModules makes a directory with the broken modules, and one that is cut off.
func writeModules(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range brokenModules {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	whole, err := os.ReadFile(guest(t, helloC))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "truncated.wasm"), whole[:len(whole)/2])
	return dir
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// listenTCP takes a port and answers its address.
func listenTCP(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().String()
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	dir := writeModules(t)
	hello := guest(t, helloC)
	_, taken := listenTCP(t)
	long := "unix:///" + strings.Repeat("x", 120)
	for _, c := range []struct {
		name string
		args []string
		code int
		says []string // parts of the one line on stderr
	}{
		{"no module", []string{"run"}, 2, []string{"needs the path of a module", "wcluster run app.wasm"}},
		{"no such file", []string{"run", "none.wasm"}, 66, []string{"none.wasm", "no such file"}},
		{"a directory", []string{"run", dir}, 66, []string{dir, "directory"}},
		{"an empty file", []string{"run", dir + "/empty.wasm"}, 66, []string{"empty.wasm", "the file is empty"}},
		{"a file that is no Wasm", []string{"run", dir + "/text.wasm"}, 65, []string{"text.wasm", "not a Wasm module", "wasip1"}},
		{"a module that is cut off", []string{"run", dir + "/truncated.wasm"}, 65, []string{"truncated.wasm", "cut off", "copy it again"}},
		{"a component", []string{"run", dir + "/component.wasm"}, 65, []string{"component.wasm", "component", "build it for wasip1"}},
		{"exceptions", []string{"run", dir + "/exceptions.wasm"}, 65, []string{"exceptions.wasm", "exceptions", "build it without"}},
		{"an import that is not provided", []string{"run", dir + "/import.wasm"}, 65, []string{"import.wasm", "env.missing"}},
		{"a module without a start", []string{"run", dir + "/library.wasm"}, 65, []string{"library.wasm", "_start"}},
		{"no workers", []string{"run", hello, "-n", "0"}, 2, []string{`-n "0"`, "1 to 1024", "auto"}},
		{"fewer than no workers", []string{"run", hello, "-n", "-1"}, 2, []string{`-n "-1"`, "1 to 1024"}},
		{"too many workers", []string{"run", hello, "-n", "100000"}, 2, []string{`-n "100000"`, "1 to 1024"}},
		{"workers that are no number", []string{"run", hello, "--workers", "many"}, 2, []string{`-n "many"`, "1 to 1024"}},
		{"a scheme that nobody knows", []string{"run", hello, "--listen", "http://:80"}, 2, []string{`--listen "http://:80"`, "unknown scheme", "tcp"}},
		{"an address without a scheme", []string{"run", hello, "--listen", "127.0.0.1:80"}, 2, []string{"no scheme", "tcp://HOST:PORT"}},
		{"a port beyond the last", []string{"run", hello, "--listen", "tcp://:99999"}, 2, []string{"99999", "0 to 65535"}},
		{"a host name", []string{"run", hello, "--listen", "tcp://example.com:80"}, 2, []string{"example.com", "not an IP address"}},
		{"a path too long for a socket", []string{"run", hello, "--listen", long}, 2, []string{"121 bytes", "at most 107"}},
		{"a bad name of a socket", []string{"run", hello, "--listen", "a b=tcp://:80"}, 2, []string{"letters, digits"}},
		{"one address twice", []string{"run", hello, "--listen", "tcp://:8000", "--listen", "tcp://:8000"}, 2, []string{"tcp://:8000", "twice"}},
		{"a port in use", []string{"run", hello, "--listen", "tcp://" + taken}, 69, []string{"tcp://" + taken, "already in use", "choose another port"}},
		{"an address of another machine", []string{"run", hello, "--listen", "tcp://192.0.2.1:8000"}, 69, []string{"192.0.2.1", "no interface"}},
		{"a descriptor that is not open", []string{"run", hello, "--listen", "fd:99"}, 69, []string{"fd:99", "no such descriptor"}},
		{"a descriptor of a terminal", []string{"run", hello, "--fd", "1"}, 2, []string{`--fd "1"`, "3 or above"}},
		{"a directory that is no cache", []string{"run", hello, "--cache", hello}, 70, []string{"cache directory", hello, "choose another"}},
		{"an unknown flag", []string{"run", hello, "--lisen", "x"}, 2, []string{"--lisen", "did you mean --listen?"}},
		{"an unknown flag like no other", []string{"run", hello, "--xyzzy"}, 2, []string{"--xyzzy", "wcluster run --help"}},
		{"an unknown short flag", []string{"run", "-x"}, 2, []string{"unknown flag -x", "wcluster run --help"}},
		{"an unknown command", []string{"rum"}, 2, []string{`"rum"`, `did you mean "run"?`}},
		{"an unknown command like no other", []string{"xyzzy"}, 2, []string{`"xyzzy"`, "wcluster --help"}},
		{"a module in place of a command", []string{"app.wasm"}, 2, []string{`did you mean "wcluster run app.wasm"?`}},
		{"arguments without --", []string{"run", hello, "verbose"}, 2, []string{`"verbose"`, "after --"}},
		{"two modules", []string{"inspect", hello, hello}, 2, []string{"takes one module"}},
		{"an argument of version", []string{"version", "1"}, 2, []string{`"1"`, "takes none"}},
		{"a variable without a value", []string{"run", hello, "--env", "LEVEL"}, 2, []string{`--env "LEVEL"`, "KEY=VALUE"}},
		{"a variable without a name", []string{"run", hello, "--env", "=x"}, 2, []string{`--env "=x"`, "KEY=VALUE"}},
		{"a duration without a unit", []string{"run", hello, "--timeout", "30"}, 2, []string{`--timeout "30"`, "30s"}},
		{"a duration that is too short", []string{"run", hello, "--graceful-timeout", "-1s"}, 2, []string{"--graceful-timeout", "1ms or more"}},
		{"a flag without its value", []string{"run", hello, "--timeout"}, 2, []string{"needs an argument", "--timeout"}},
		{"a policy that nobody knows", []string{"run", hello, "--restart", "onfailure"}, 2, []string{`"onfailure"`, "did you mean on-failure?"}},
		{"an intensity without a time", []string{"run", hello, "--restart-intensity", "5"}, 2, []string{`--restart-intensity "5"`, "5/10s"}},
		{"an intensity of nothing", []string{"run", hello, "--restart-intensity", "0/10s"}, 2, []string{"5/10s"}},
		{"a switch that is neither on nor off", []string{"run", hello, "--silent=maybe"}, 2, []string{`--silent "maybe"`, "true or false"}},
		{"inspect of no file", []string{"inspect", "none.wasm"}, 66, []string{"none.wasm", "no such file"}},
		{"inspect of no Wasm", []string{"inspect", dir + "/text.wasm"}, 65, []string{"text.wasm", "not a Wasm module"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			refuses(t, newCommand(c.args), c.code, c.says...)
		})
	}
}

// refuses runs a command that must fail with that code and one line on stderr.
func refuses(t *testing.T, cmd *exec.Cmd, code int, says ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	if stdout.Len() > 0 {
		t.Errorf("on stdout is %q", &stdout)
	}
	line := stderr.String()
	if !strings.HasPrefix(line, "wcluster: ") || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
		t.Errorf("on stderr is %q, want one line", line)
	}
	for _, s := range says {
		if !strings.Contains(line, s) {
			t.Errorf("the line %q does not say %q", line, s)
		}
	}
}

func TestBadEnvironment(t *testing.T) {
	t.Parallel()
	for variable, says := range map[string]string{
		"WCLUSTER_TIMEOUT=30":                 `WCLUSTER_TIMEOUT "30": not a duration`,
		"WCLUSTER_WORKERS=0":                  `WCLUSTER_WORKERS "0": choose 1 to 1024`,
		"WCLUSTER_LISTEN=tcp://:0,http://:80": `WCLUSTER_LISTEN "http://:80": unknown scheme`,
		"WCLUSTER_ENV=A=1\nB":                 `WCLUSTER_ENV "B": write KEY=VALUE`,
		"WCLUSTER_JSON=maybe":                 `WCLUSTER_JSON "maybe": write true or false`,
	} {
		refuses(t, newCommand([]string{"run", guest(t, helloC)}, withEnv(variable)), 2, says)
	}
}

// TestNotPermitted needs root to become somebody else.
func TestNotPermitted(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run the command as another user")
	}
	if err := os.Chmod(work, 0o711); err != nil {
		t.Fatal(err)
	}
	nobody := func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		c.Dir = "/"
	}
	module, err := os.ReadFile(guest(t, helloC))
	if err != nil {
		t.Fatal(err)
	}
	readable, secret := filepath.Join(work, "readable.wasm"), filepath.Join(work, "secret.wasm")
	write(t, readable, module)
	write(t, secret, module)
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("a port below 1024", func(t *testing.T) {
		first, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
		if err == nil && strings.TrimSpace(string(first)) != "1024" {
			t.Skip("ports below 1024 are free for all here")
		}
		refuses(t, newCommand([]string{"run", readable, "--listen", "tcp://127.0.0.1:81"}, nobody), 77,
			"tcp://127.0.0.1:81", "permission denied", "CAP_NET_BIND_SERVICE")
	})
	t.Run("a module that may not be read", func(t *testing.T) {
		refuses(t, newCommand([]string{"run", secret}, nobody), 77, "secret.wasm", "permission denied")
	})
	t.Run("a cache that others can write to", func(t *testing.T) {
		shared := filepath.Join(t.TempDir(), "v2")
		if err := os.Mkdir(shared, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(shared, 0o777); err != nil {
			t.Fatal(err)
		}
		refuses(t, newCommand([]string{"run", readable, "--cache", filepath.Dir(shared)}), 70, "others can write to it")
	})
}

// TestSocketFileGone: a command that could not begin leaves no socket file behind.
func TestSocketFileGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	refuses(t, newCommand([]string{"run", writeModules(t) + "/component.wasm", "--listen", "unix://" + dir + "/app.sock"}), 65, "component")
	left, err := fs.Glob(os.DirFS(dir), "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestGuestThatFails: what is wrong shows only when the guest runs.
func TestGuestThatFails(t *testing.T) {
	t.Parallel()
	atStart := filepath.Join(t.TempDir(), "start.wasm")
	write(t, atStart, []byte(startTrap))
	for _, c := range []struct {
		name, module string
		code         int
		says         []string
	}{
		{"a trap before the start", atStart, 1, []string{"worker 1 could not start: ", "unreachable", "\n    $0()"}},
		{"a trap", guest(t, trapGuest), 1, []string{"exited with code 1: unreachable", "    innermost", "    _start"}},
		{"out of memory", guest(t, oomGuest), 1, []string{"[1] out of memory", "exited with code 1: unreachable"}},
		{"an exit code", guest(t, exit42), 42, []string{"exited with code 42"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, []string{"run", c.module, "-n", "1", "--restart", "never"})
			r.exits(c.code)
			for _, s := range c.says {
				if !strings.Contains(r.stderr.String(), s) {
					t.Errorf("stderr does not say %q", s)
				}
			}
			if got := fmt.Sprint(r.stdout); got != "" {
				t.Errorf("on stdout is %q", got)
			}
		})
	}
}
