package authn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// challenges are those that are handed to anybody who wants to sign in. Nothing is
// kept of one until it was answered rightly: whoever asks for a million fills no
// memory, pushes nobody else's out, and nobody has to be slowed down for it. The
// handle carries the challenge and its end under a MAC of this process, and is
// good for one sign-in.
type challenges struct {
	now func() time.Time
	key [32]byte

	mu    sync.Mutex
	spent map[string]time.Time // until when a handle that was used must be remembered
}

const challengeSize = 32

func newChallenges(now func() time.Time) *challenges {
	c := &challenges{now: now, spent: map[string]time.Time{}}
	_, _ = rand.Read(c.key[:]) // never fails
	return c
}

func (c *challenges) mac(b []byte) []byte {
	h := hmac.New(sha256.New, c.key[:])
	h.Write(b)
	return h.Sum(nil)
}

// make gives a challenge and its handle.
func (c *challenges) make() (challenge []byte, handle string) {
	challenge = make([]byte, challengeSize)
	_, _ = rand.Read(challenge) // never fails
	b := binary.BigEndian.AppendUint64(nil, uint64(c.now().Add(challengeTTL).UnixNano()))
	b = append(b, challenge...)
	return challenge, base64.RawURLEncoding.EncodeToString(append(b, c.mac(b)...))
}

// of gives the challenge of a handle that holds and was not used, as the library
// writes it.
func (c *challenges) of(handle string) (challenge string, ok bool) {
	const size = 8 + challengeSize
	b, err := base64.RawURLEncoding.Strict().DecodeString(handle)
	if err != nil || len(b) != size+sha256.Size || !hmac.Equal(b[size:], c.mac(b[:size])) {
		return "", false
	}
	if c.now().UnixNano() >= int64(binary.BigEndian.Uint64(b)) {
		return "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, used := c.spent[handle]
	return base64.RawURLEncoding.EncodeToString(b[8:size]), !used
}

// spend uses a handle; false if somebody did before. Only right answers come here,
// so that those who are remembered are few.
func (c *challenges) spend(handle string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for other, until := range c.spent {
		if !now.Before(until) {
			delete(c.spent, other)
		}
	}
	if _, used := c.spent[handle]; used {
		return false
	}
	c.spent[handle] = now.Add(challengeTTL)
	return true
}
