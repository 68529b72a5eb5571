package master

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// A cache of compiled modules is a directory:
//
//	CacheDir/v2/<key>/            what the engine wrote for one module
//	CacheDir/v2/<key>/report.json the report on it, and the sizes of the other files
//	CacheDir/v2/tmp-*/            being written; renamed to its key when complete
//
// The files are executable code: the directory must be nobody else's to write, and only what a compile child has left
// in an empty directory gets in.
type cache struct {
	root string // …/v2, absolute
	temp string // a directory of ours to remove in the end, or ""
}

const (
	cacheVersion = "v2"
	reportFile   = "report.json"

	// staleAfter is the age at which a directory that was never completed is removed: no compile takes that long.
	staleAfter = time.Hour

	// maxEntryFiles bounds the files of an entry; the engine writes one, in a directory or two.
	maxEntryFiles = 64
)

// entry is the content of report.json.
type entry struct {
	Report abi.Report       `json:"report"`
	Files  map[string]int64 `json:"files"` // path within the entry → bytes
}

// openCache finds the cache. dir is the settings' own wish, or "" for the default, which falls back to a temporary
// directory where there is no home to write to.
func openCache(dir string) (*cache, error) {
	if dir != "" {
		return makeCache(dir)
	}
	if base, err := os.UserCacheDir(); err == nil {
		if c, err := makeCache(filepath.Join(base, "wcluster")); err == nil && c.writable() {
			return c, nil
		}
	}
	temp, err := os.MkdirTemp("", "wcluster-")
	if err != nil {
		return nil, fmt.Errorf("make cache directory: %w; choose another", err)
	}
	c, err := makeCache(temp)
	if err != nil {
		return nil, err
	}
	c.temp = temp
	return c, nil
}

func makeCache(dir string) (*cache, error) {
	root, err := filepath.Abs(filepath.Join(dir, cacheVersion))
	if err == nil {
		err = os.MkdirAll(root, 0o700)
	}
	if err == nil {
		err = checkTrust(root)
	}
	if err != nil {
		return nil, fmt.Errorf("use cache directory %s: %w; choose another", dir, bare(err))
	}
	return &cache{root: root}, nil
}

// bare takes the path off an error whose text names it already.
func bare(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// checkTrust refuses a directory that others can write to.
func checkTrust(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return errors.New("it belongs to another user, whose code would be run")
	case info.Mode().Perm()&0o022 != 0:
		return errors.New("others can write to it, whose code would be run")
	default:
		return nil
	}
}

func (c *cache) writable() bool {
	probe, err := os.MkdirTemp(c.root, "tmp-")
	if err != nil {
		return false
	}
	return os.Remove(probe) == nil
}

// release removes a temporary cache.
func (c *cache) release() {
	if c.temp != "" {
		_ = os.RemoveAll(c.temp) // best effort: it lies in the system's temporary directory
	}
}

// cacheKey names the code of one module by all that it depends on.
func cacheKey(module [sha256.Size]byte, debug bool) string {
	h := sha256.New()
	fmt.Fprintf(h, "%x\n%s\n%s\n%s\n%s\n%t\n", module, abi.Build, abi.Engine, runtime.GOARCH, cpuFeatures(), debug)
	return hex.EncodeToString(h.Sum(nil))
}

// cpuFeatures is the line of /proc/cpuinfo that says what the processor can do: the compiler may use all of it.
func cpuFeatures() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(name) {
		case "flags", "Features": // amd64, arm64
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (c *cache) path(key string) string { return filepath.Join(c.root, key) }

// lookup answers the report of a complete entry. Anything else is as good as no entry.
func (c *cache) lookup(key string) (abi.Report, bool) {
	dir := c.path(key)
	text, err := readBounded(filepath.Join(dir, reportFile), abi.MaxControl)
	if err != nil {
		return abi.Report{}, false
	}
	var e entry
	if json.Unmarshal(text, &e) != nil || len(e.Files) == 0 {
		return abi.Report{}, false
	}
	files, err := entryFiles(dir)
	if err != nil || len(files) != len(e.Files) {
		return abi.Report{}, false
	}
	for name, size := range e.Files {
		if have, ok := files[name]; !ok || have != size {
			return abi.Report{}, false
		}
	}
	return e.Report, true
}

// lost is whether the entry in dir is gone. An error that says anything else, such as that this process has no descriptors
// just now, is none.
func (c *cache) lost(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, reportFile))
	return errors.Is(err, fs.ErrNotExist)
}

func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("read %s: more than %d bytes", path, limit)
	}
	return text, err
}

// entryFiles are the files of an entry and their sizes, without the report. A compile child may be in a hostile
// module's hands: what is neither a plain file nor a directory is refused.
func entryFiles(dir string) (map[string]int64, error) {
	files := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() || name == reportFile:
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a plain file", name)
		case len(files) == maxEntryFiles:
			return fmt.Errorf("more than %d files", maxEntryFiles)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files[name] = info.Size()
		return nil
	})
	return files, err
}

// begin makes an empty directory for a compile child.
func (c *cache) begin() (dir string, err error) {
	c.sweep(time.Now())
	dir, err = os.MkdirTemp(c.root, "tmp-")
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(c.root, 0o700) == nil { // somebody has cleaned up
		dir, err = os.MkdirTemp(c.root, "tmp-")
	}
	if err != nil {
		return "", fmt.Errorf("use cache directory %s: %w; choose another", filepath.Dir(c.root), bare(err))
	}
	return dir, nil
}

// sweep removes what compile children that died left behind. Errors do not matter: the next sweep is soon.
func (c *cache) sweep(now time.Time) {
	old, _ := filepath.Glob(filepath.Join(c.root, "tmp-*"))
	for _, dir := range old {
		if info, err := os.Lstat(dir); err == nil && now.Sub(info.ModTime()) > staleAfter {
			_ = os.RemoveAll(dir)
		}
	}
}

// commit makes dir, which a compile child has filled, the entry of a key. Another process may have been faster: then
// its entry stays.
func (c *cache) commit(dir, key string, report abi.Report) error {
	files, err := entryFiles(dir)
	switch {
	case err != nil:
		return fmt.Errorf("keep compiled module: %w", err)
	case len(files) == 0:
		return errors.New("keep compiled module: the compile process has left nothing")
	}
	text, err := json.Marshal(entry{Report: report, Files: files})
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	// A report that the child put there itself may be a link: remove, then create, never follow.
	target := filepath.Join(dir, reportFile)
	if err := os.RemoveAll(target); err != nil {
		return fmt.Errorf("keep compiled module: %w", err)
	}
	if err := os.WriteFile(target, text, 0o600); err != nil {
		return fmt.Errorf("keep compiled module: %w", err)
	}
	if err := openToRead(dir); err != nil {
		return fmt.Errorf("keep compiled module: %w", err)
	}
	return c.install(dir, key)
}

// openToRead lets everybody read an entry, whatever the umask: root's workers are nobody. Who may reach it is decided by the
// directory above, which is this user's alone.
func openToRead(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o755)
		default:
			return os.Chmod(path, 0o644) // a plain file: entryFiles has seen to that
		}
	})
}

// install renames dir to its key. An entry that is in the way and not whole is thrown away.
func (c *cache) install(dir, key string) error {
	for range 3 {
		err := os.Rename(dir, c.path(key))
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return fmt.Errorf("keep compiled module: %w", err)
		}
		if _, ok := c.lookup(key); ok {
			_ = os.RemoveAll(dir) // ours is not needed; the sweep gets it otherwise
			return nil
		}
		c.discard(key)
	}
	return fmt.Errorf("keep compiled module: %s keeps coming back incomplete; remove it", c.path(key))
}

// discard takes a broken entry out of the way, in one step, so that nobody sees half of it.
func (c *cache) discard(key string) {
	dir, err := os.MkdirTemp(c.root, "tmp-")
	if err != nil {
		return
	}
	_ = os.Rename(c.path(key), filepath.Join(dir, "broken")) // somebody else may have been faster
	_ = os.RemoveAll(dir)
}
