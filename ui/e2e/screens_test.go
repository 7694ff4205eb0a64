package e2e_test

import (
	"flag"
	"os"
	"path/filepath"

	"github.com/chromedp/chromedp"
)

// screens is where pictures of the pages go; nowhere when empty.
var screens = flag.String("screens", "", "write pictures of the pages into this `DIR`ectory")

// picture takes a picture of the page in both schemes, and one at a phone's width.
func (p *tab) picture(name string) {
	p.t.Helper()
	if *screens == "" {
		return
	}
	p.take(name+"-light", light, 1280)
	p.take(name+"-dark", dark, 1280)
	p.look(light, 1280)
}

// take takes one picture.
func (p *tab) take(name string, s scheme, width int64) {
	p.t.Helper()
	if *screens == "" {
		return
	}
	p.look(s, width)
	p.do(chromedp.Evaluate[chromedp.Void](`document.activeElement?.blur(); window.scrollTo(0, 0)`))
	if width > narrow {
		// As high as the page, so that what stays in place while one scrolls ends with it.
		p.do(chromedp.EmulateViewport(width, max(900, value[int64](p, `document.documentElement.scrollHeight`))))
	}
	png, err := chromedp.Run(p.within(), chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(*screens, name+".png"), png, 0o644)
	}
	if err != nil {
		p.t.Fatalf("picture %s: %v", name, err)
	}
}
