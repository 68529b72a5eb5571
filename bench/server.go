package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// server is one line of the comparison.
type server struct {
	name    string
	about   string
	tools   []string // programs that it takes
	version []string // prints the version of what it takes, on its first line
	subject bool     // it is wcluster: the others are what it is compared with
	alone   bool     // its first process serves; otherwise that has a child for each worker
	slow    bool     // left out of --quick: its build alone takes too long
	events  bool     // it prints events as wcluster run --json does
	cached  bool     // it is compared with as any other, but has a cache of compiled code to fill

	build   func(ctx context.Context, w *workshop) error // nil: nothing to build
	command func(w *workshop, workers, port int) (command, error)
}

// command is how a server is started.
type command struct {
	argv, env []string
}

// servers in the order in which they are shown: from the limit to what people would use otherwise, then ours.
var servers = []*server{
	{
		name: "native-c", about: "epoll, prefork, the same sources as hello-c: the limit", tools: []string{"gcc", "sh"},
		build: buildNativeC, command: nativeC,
	},
	{name: "nginx", about: "return 200", tools: []string{"nginx"}, version: []string{"nginx", "-v"}, command: nginx},
	{
		name: "go", about: "net/http, one process on as many cores", tools: []string{"go"}, version: []string{"go", "version"},
		alone: true, build: buildGo, command: goHTTP,
	},
	{
		name: "node", about: "cluster, round robin", tools: []string{"node"}, version: []string{"node", "--version"},
		events: true, command: nodeCluster("rr"),
	},
	{
		name: "node-none", about: "cluster, the workers accept", tools: []string{"node"}, version: []string{"node", "--version"},
		events: true, command: nodeCluster("none"),
	},
	{
		name: "wcluster", about: "hello-c", tools: []string{"go"},
		subject: true, events: true, build: buildWcluster, command: wcluster(helloC),
	},
	{
		name: bare, about: "hello-c without a sandbox", tools: []string{"go"},
		events: true, cached: true, build: buildWcluster, command: wcluster(helloC, "--sandbox=off"),
	},
	{
		name: "wcluster-go", about: "hello-go: net/http in the guest", tools: []string{"go"}, slow: true,
		subject: true, events: true, build: buildHelloGo, command: wcluster(helloGo),
	},
}

// bare is wcluster without its sandbox: what the sandbox costs is the difference.
const bare = "wcluster-bare"

// notByDefault are the servers that run only when they are named.
var notByDefault = []string{"node-none", bare}

// packages says what to install for a program, in Debian's names.
var packages = map[string]string{
	"gcc": "gcc and libc6-dev", "go": "Go from https://go.dev/dl", "nginx": "nginx-core, 1.19.5 or later",
	"node": "nodejs", "sh": "dash", "wrk": "wrk",
}

// serversNamed finds servers by their names.
func serversNamed(names []string) ([]*server, error) {
	var found []*server
	for _, name := range names {
		i := slices.IndexFunc(servers, func(s *server) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown server %q; choose from %s", name, strings.Join(serverNames(), ", "))
		}
		if !slices.Contains(found, servers[i]) {
			found = append(found, servers[i])
		}
	}
	return found, nil
}

func serverNames() []string {
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	return names
}

// defaultServers are all but those that have to be named, and without the slow ones when quick.
func defaultServers(quick bool) []*server {
	var found []*server
	for _, s := range servers {
		if !slices.Contains(notByDefault, s.name) && !(quick && s.slow) {
			found = append(found, s)
		}
	}
	return found
}

// missing answers what to install before the server can take part, or "".
func (s *server) missing() string {
	for _, tool := range s.tools {
		if _, err := findTool(tool); err != nil {
			return fmt.Sprintf("%s is not installed: install %s", tool, packages[tool])
		}
	}
	return ""
}

// findTool also looks where administrators' programs are, which is not in everybody's PATH.
func findTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

// versionOf is the first line that a program prints about itself, or "".
func versionOf(ctx context.Context, argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	path, err := findTool(argv[0])
	if err != nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, path, argv[1:]...).CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// workshop is where servers are built and started from.
type workshop struct {
	root string // of the module
	dir  string // ours to fill; removed in the end
}

func openWorkshop(ctx context.Context) (*workshop, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module: go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return nil, errors.New("find the module: run bench in its work tree")
	}
	dir, err := os.MkdirTemp("", "wcluster-bench-")
	if err != nil {
		return nil, fmt.Errorf("make directory for builds: %w", err)
	}
	return &workshop{root: filepath.Dir(mod), dir: dir}, nil
}

func (w *workshop) close() error {
	if err := os.RemoveAll(w.dir); err != nil {
		return fmt.Errorf("remove directory of builds: %w", err)
	}
	return nil
}

// made is the path of something built.
func (w *workshop) made(name string) string { return filepath.Join(w.dir, name) }

// build runs a command that builds, in the module's root.
func (w *workshop) build(ctx context.Context, env []string, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = w.root
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// environment is all that servers see of ours, so that nobody's GOGC or NODE_OPTIONS is measured.
func (w *workshop) environment(more ...string) []string {
	env := []string{"XDG_CACHE_HOME=" + w.made("cache")}
	for _, key := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return append(env, more...)
}

func buildNativeC(ctx context.Context, w *workshop) error {
	script := filepath.Join("bench", "peers", "native-c", "build.sh")
	return w.build(ctx, []string{"CC=gcc", "CFLAGS=-O2"}, "sh", script, w.made("native-c"))
}

func nativeC(w *workshop, workers, port int) (command, error) {
	argv := []string{w.made("native-c"), strconv.Itoa(port), strconv.Itoa(workers)}
	return command{argv, w.environment()}, nil
}

func buildGo(ctx context.Context, w *workshop) error {
	return w.build(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-o", w.made("go-http"), "./bench/peers/go-http")
}

func goHTTP(w *workshop, workers, port int) (command, error) {
	env := w.environment("GOMAXPROCS=" + strconv.Itoa(workers))
	return command{[]string{w.made("go-http"), address(port)}, env}, nil
}

func nodeCluster(policy string) func(*workshop, int, int) (command, error) {
	return func(w *workshop, workers, port int) (command, error) {
		script := filepath.Join(w.root, "bench", "peers", "node-cluster", "server.js")
		argv := []string{"node", script, strconv.Itoa(port), strconv.Itoa(workers), policy}
		return command{argv, w.environment()}, nil
	}
}

// nginxConfig takes a directory, workers, port and body. Nothing in it needs rights. A connection is never closed for
// having served many requests, as none of the other servers does that either.
const nginxConfig = `daemon off;
worker_processes %[2]d;
pid %[1]s/nginx.pid;
events {
	worker_connections 4096;
}
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 127.0.0.1:%[3]d backlog=1024;
		default_type text/plain;
		location / {
			add_header X-Worker 1;
			return 200 "%[4]s";
		}
	}
}
`

func nginx(w *workshop, workers, port int) (command, error) {
	path, err := findTool("nginx")
	if err != nil {
		return command{}, fmt.Errorf("find nginx: %w", err)
	}
	config := w.made("nginx.conf")
	text := fmt.Sprintf(nginxConfig, w.dir, workers, port, greeting+`1\n`)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return command{}, fmt.Errorf("write configuration of nginx: %w", err)
	}
	return command{[]string{path, "-e", "stderr", "-p", w.dir, "-c", config}, w.environment()}, nil
}

// address is where servers listen: never beyond this machine.
func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
