package assets

import (
	"bytes"
	"compress/gzip"
	"sync"
)

// file is one asset. It is compressed when somebody first asks for that.
type file struct {
	body []byte
	gzip func() []byte
}

func newFile(body []byte) *file {
	return &file{body: body, gzip: sync.OnceValue(func() []byte { return compress(body) })}
}

// compress makes a gzip body, or nil when that is not smaller.
func compress(body []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil || out.Len() >= len(body) {
		return nil
	}
	return out.Bytes()
}
