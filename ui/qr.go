package ui

import (
	"fmt"
	"strings"

	"rsc.io/qr"

	"coffer/app/domain"
)

// qrCode is a QR code as the path of an SVG: one square for each dark module.
type qrCode struct {
	Path string
	Size int // modules on a side, with the quiet zone
}

// quiet is the width of the light border that a reader needs, in modules.
const quiet = 4

// newQR makes the code of a text.
func newQR(text domain.Secret) (qrCode, error) {
	code, err := qr.Encode(string(text.Reveal()), qr.M)
	if err != nil {
		return qrCode{}, fmt.Errorf("making a QR code: %w", err)
	}
	var b strings.Builder
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			if !code.Black(x, y) {
				continue
			}
			run := 1
			for code.Black(x+run, y) {
				run++
			}
			fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, run, run)
			x += run
		}
	}
	return qrCode{b.String(), code.Size + 2*quiet}, nil
}
