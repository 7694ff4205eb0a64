package app

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/term"

	"coffer/app/domain"
)

// maxTyped bounds what is typed at a prompt, in bytes.
const maxTyped = 4096

// prompt reads a line from the terminal without showing it. The terminal stops
// showing before the question is asked: a program that waits for the question, or
// somebody quick, would otherwise be shown.
func prompt(std Stdio, text string) (domain.Secret, error) {
	f, ok := std.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return domain.Secret{}, domain.Errorf(domain.Invalid, "there is no terminal to ask at").
			WithHint("give a file: --passphrase-file FILE or --recovery-file FILE, - for stdin")
	}
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return domain.Secret{}, fmt.Errorf("asking at the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(f.Fd()), before) }()
	fmt.Fprint(std.Err, text)
	line, err := readTyped(f)
	fmt.Fprint(std.Err, "\r\n")
	return domain.NewSecret(line), err
}

// readTyped reads a line as a raw terminal gives it, byte for byte, but for the
// keys that a terminal itself acts on otherwise (termios(3)). Nothing is read
// beyond the line: it may be for the next prompt.
func readTyped(r io.Reader) ([]byte, error) {
	line, key := make([]byte, 0, maxTyped), make([]byte, 1)
	for {
		n, err := r.Read(key)
		switch {
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case err != nil:
			return nil, err
		case n == 0:
			continue
		}
		switch key[0] {
		case '\r', '\n':
			return line, nil
		case 'C' - '@':
			return nil, domain.Errorf(domain.Invalid, "interrupted at the prompt")
		case 'D' - '@':
			if len(line) == 0 {
				return nil, io.EOF
			}
			return line, nil
		case '\b', 0x7f:
			_, size := utf8.DecodeLastRune(line)
			line = line[:len(line)-size]
		case 'U' - '@':
			line = line[:0]
		default:
			if len(line) == maxTyped {
				return nil, domain.Errorf(domain.Limit, "more than %d bytes were typed", maxTyped)
			}
			line = append(line, key[0])
		}
	}
}
