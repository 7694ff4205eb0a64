package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

func jsongetCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "jsonget VAR FILE PATH")
	v, err := jsonValue([]byte(ts.ReadFile(args[1])), args[2])
	ts.Check(err)
	ts.Setenv(args[0], v)
}

// fieldCommand reads a line of the block that `coffer serve` prints.
func fieldCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "field VAR FILE NAME")
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), args[2]+": "); ok {
			ts.Setenv(args[0], value)
			return
		}
	}
	ts.Fatalf("there is no line %s", args[2])
}

func portCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "port VAR URL")
	u, err := url.Parse(args[1])
	ts.Check(err)
	ts.Setenv(args[0], u.Port())
}

func jsonisCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 3, "[!] jsonis FILE PATH VALUE")
	v, err := jsonValue([]byte(ts.ReadFile(args[0])), args[1])
	ts.Check(err)
	if (v == args[2]) == neg {
		ts.Fatalf("%s is %q", args[1], v)
	}
}

// jsonValue finds a value in exactly one JSON document: a text without its
// quotes, anything else as JSON. "len" is the length of a list.
func jsonValue(document []byte, path string) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.UseNumber()
	var at any
	if err := dec.Decode(&at); err != nil {
		return "", fmt.Errorf("not JSON: %w", err)
	}
	if dec.More() {
		return "", fmt.Errorf("more follows the JSON document")
	}
	for _, step := range strings.Split(path, ".") {
		switch v := at.(type) {
		case map[string]any:
			next, ok := v[step]
			if !ok {
				return "", fmt.Errorf("there is no %s in %s", step, path)
			}
			at = next
		case []any:
			if step == "len" {
				at = len(v)
				continue
			}
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return "", fmt.Errorf("there is no element %s of %d in %s", step, len(v), path)
			}
			at = v[i]
		default:
			return "", fmt.Errorf("there is nothing below %v in %s", v, path)
		}
	}
	if text, ok := at.(string); ok {
		return text, nil
	}
	b, err := json.Marshal(at)
	return string(b), err
}

func writeCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "write FILE TEXT…")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(args[1:], "\n")+"\n"), 0o600))
}

func fillCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3 && args[2] != "", "fill FILE BYTES TEXT")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	text, err := strconv.Unquote(`"` + args[2] + `"`)
	ts.Check(err)
	b := bytes.Repeat([]byte(text), n/len(text)+1)[:n]
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

func linesCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "lines FILE COUNT TEXT")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(args[2], "{n}", strconv.Itoa(i)) + "\n")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

func flipCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "flip FILE OFFSET")
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	at := liveOffset(b)
	if args[1] != "live" {
		at, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	if at < 0 {
		at += len(b)
	}
	usage(ts, at >= 0 && at < len(b), "flip FILE OFFSET, inside of the file")
	b[at] ^= 1
	ts.Check(os.WriteFile(path, b, 0o600))
}

// liveOffset finds a byte of a bbolt file that is in use for sure: in the root
// page of the newer of the two metas (bbolt's internal/common/meta.go).
func liveOffset(b []byte) int {
	const page = 4096
	if len(b) < 2*page {
		return len(b) // flipCommand says so
	}
	meta := b[16:]
	if older, other := binary.LittleEndian.Uint64(meta[48:]), b[page+16:]; binary.LittleEndian.Uint64(other[48:]) > older {
		meta = other
	}
	return int(binary.LittleEndian.Uint64(meta[16:]))*page + 30
}

// markCommand remembers what is in the data directory.
func markCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "mark")
	sessionOf(ts).marked = contents(ts)
}

// unchangedCommand compares with what markCommand remembered.
func unchangedCommand(ts *testscript.TestScript, neg bool, args []string) {
	s := sessionOf(ts)
	usage(ts, len(args) == 0 && s.marked != nil, "[!] unchanged, after mark")
	if diff := cmp.Diff(s.marked, contents(ts)); (diff == "") == neg {
		ts.Fatalf("the data directory, (-before +after): %s", diff)
	}
}

// contents hashes every file of the data directory but those that change by
// themselves: the clock, the log's note of where it is, and shared memory.
func contents(ts *testscript.TestScript) map[string][32]byte {
	out := map[string][32]byte{}
	root := ts.Getenv("COFFER_DATA")
	ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case !d.Type().IsRegular(), strings.HasSuffix(name, "-shm"), strings.Contains(name, "/.tmp-"),
			name == "coffer.clock", name == filepath.Join("audit", "heads"):
			return nil
		}
		b, err := os.ReadFile(path)
		out[name] = sha256.Sum256(b)
		return err
	}))
	return out
}

func lacksCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2 && args[1] != "", "lacks PATH TEXT")
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, []byte(args[1])) {
			err = fmt.Errorf("%s has it", path)
		}
		return err
	}))
}
