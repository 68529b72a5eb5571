package hosttest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// handedVariable names a directory of what a test needs and cannot build itself: as nobody it has neither a checkout nor
// a cache to build in.
const handedVariable = "WCLUSTER_TEST_HANDED"

// nobody is the user and the group of a run as an ordinary user.
const nobody = 65534

// AsEachUser runs a test as root and as an ordinary user, or, if that is who this is, as an ordinary user alone. parts
// builds or finds what the test will ask this package for; nothing else can be built in it.
func AsEachUser(t *testing.T, parts func(t testing.TB) []string, test func(t *testing.T)) {
	if os.Geteuid() != 0 {
		t.Run("as an ordinary user", test)
		return
	}
	t.Run("as root", test)
	t.Run("as an ordinary user", func(t *testing.T) { runAsNobody(t, parts(t)) })
}

// runAsNobody runs the test that t is a part of in a process of its own, and reports what came of it.
func runAsNobody(t *testing.T, parts []string) {
	name, _, _ := strings.Cut(t.Name(), "/")
	dir := handOver(t, parts)
	// The test binary lies where only root can go: the process is this program before it is nobody's.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+name+"$", "-test.v", "-test.timeout=2m")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), handedVariable+"="+dir, "TMPDIR="+filepath.Join(dir, "tmp"), "HOME="+filepath.Join(dir, "tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
}

// handOver copies parts to where everybody can read them, with a directory that nobody may write to.
func handOver(t *testing.T, parts []string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wcluster-handed-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	temp := filepath.Join(dir, "tmp")
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Mkdir(temp, 0o700))
	must(t, os.Chown(temp, nobody, nobody))
	for _, part := range parts {
		must(t, copyFile(filepath.Join(dir, filepath.Base(part)), part))
	}
	return dir
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
