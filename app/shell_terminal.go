package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"coffer/app/actions"
	"coffer/app/domain"
)

// script is what does not come from a terminal.
type script struct{ scanner *bufio.Scanner }

func newScript(r io.Reader) *script {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, actions.MaxSQLText)
	return &script{scanner}
}

func (s *script) line(string) (string, error) {
	if s.scanner.Scan() {
		return s.scanner.Text(), nil
	}
	if err := s.scanner.Err(); err != nil {
		return "", domain.Errorf(domain.Invalid, "reading statements: %w", err)
	}
	return "", io.EOF
}

// terminal reads lines that somebody types, with history and editing. The
// terminal is raw only while it does.
type terminal struct {
	file *os.File
	keys *keys
	term *term.Terminal
}

func newTerminal(f *os.File, out io.Writer) *terminal {
	k := &keys{in: f}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{k, out}, "")
	t.History = &history{}
	return &terminal{f, k, t}
}

// maxHistory is how many lines come back.
const maxHistory = 1000

// history are the lines that were typed, without empty ones and repetitions.
type history struct{ lines []string }

// Add takes a line.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	if h.lines = append(h.lines, line); len(h.lines) > maxHistory {
		h.lines = h.lines[1:]
	}
}

// Len is how many there are.
func (h *history) Len() int { return len(h.lines) }

// At is one of them, the newest for 0.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

func (t *terminal) line(prompt string) (string, error) {
	before, err := term.MakeRaw(int(t.file.Fd()))
	if err != nil {
		return "", fmt.Errorf("reading at the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(t.file.Fd()), before) }()
	if width, height, err := term.GetSize(int(t.file.Fd())); err == nil && width > 0 {
		_ = t.term.SetSize(width, height)
	}
	t.term.SetPrompt(prompt)
	line, err := t.term.ReadLine()
	if t.keys.interrupted {
		t.keys.interrupted = false
		return "", errInterrupted
	}
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	return line, err
}

// keys turns Ctrl-C, which the terminal's line editor takes for the end, into the
// keys that clear the line and end it.
type keys struct {
	in          io.Reader
	held        []byte
	interrupted bool
}

func (k *keys) Read(p []byte) (int, error) {
	if len(k.held) == 0 {
		b := make([]byte, len(p))
		n, err := k.in.Read(b)
		for _, c := range b[:n] {
			if c == 'C'-'@' {
				k.interrupted = true
				k.held = append(k.held, 'E'-'@', 'U'-'@', '\r')
				continue
			}
			k.held = append(k.held, c)
		}
		if len(k.held) == 0 {
			return 0, err
		}
	}
	n := copy(p, k.held)
	k.held = k.held[n:]
	return n, nil
}
