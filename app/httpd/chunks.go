package httpd

// chunks follows a body in chunks (RFC 9112 section 7.1) to its end. Extensions
// and trailers, of which Coffer knows none, are refused: servers disagree most
// about those.
type chunks struct {
	at    chunkPlace
	size  int64 // of the chunk that is read, or what is left of it
	total int64 // of all chunks so far
	digit int   // of the size
}

type chunkPlace int

const (
	inSize chunkPlace = iota
	afterSize
	inData
	afterData
	afterDataCR
	lastLine
	lastLineCR
	afterChunks
)

// maxDigits are more than a chunk of MaxBody needs.
const maxDigits = 8

// follow goes through bytes and says how many belong to the body, until it ends.
func (ch *chunks) follow(b []byte) (n int, no *refusal) {
	for n < len(b) && ch.at != afterChunks {
		if ch.at == inData {
			step := min(ch.size, int64(len(b)-n))
			n += int(step)
			if ch.size -= step; ch.size == 0 {
				ch.at = afterData
			}
			continue
		}
		if no := ch.next(b[n]); no != nil {
			return n, no
		}
		n++
	}
	return n, nil
}

// next takes one byte that is not data.
func (ch *chunks) next(c byte) *refusal {
	expect := func(want byte, then chunkPlace) *refusal {
		if c != want {
			return bad("the chunks of the body are malformed")
		}
		ch.at = then
		return nil
	}
	switch ch.at {
	case inSize:
		if v, ok := hexDigit(c); ok && ch.digit < maxDigits {
			ch.size, ch.digit = ch.size<<4|v, ch.digit+1
			return nil
		}
		if ch.digit == 0 {
			return bad("the chunks of the body are malformed")
		}
		return expect('\r', afterSize)
	case afterSize:
		return ch.sized(c)
	case afterData:
		return expect('\r', afterDataCR)
	case afterDataCR:
		return expect('\n', inSize)
	case lastLine:
		return expect('\r', lastLineCR)
	}
	return expect('\n', afterChunks)
}

// sized ends the line with the size.
func (ch *chunks) sized(c byte) *refusal {
	if c != '\n' {
		return bad("the chunks of the body are malformed")
	}
	ch.digit = 0
	if ch.total += ch.size; ch.total > MaxBody {
		return tooLarge()
	}
	if ch.at = inData; ch.size == 0 {
		ch.at = lastLine
	}
	return nil
}

func hexDigit(c byte) (int64, bool) {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0'), true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int64(c|0x20-'a') + 10, true
	}
	return 0, false
}
