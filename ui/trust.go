package ui

import (
	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
	"coffer/ui/assets"
)

// trustView explains how a browser comes to trust the appliance's certificate.
type trustView struct {
	base
	Fingerprint string
	Own         bool // the certificate comes from Coffer's own authority
}

func (u *UI) trust(r *request) error {
	certificate, fingerprint := u.authority()
	return r.show("trust", trustView{base: r.base("Trust this appliance"), Own: len(certificate) > 0, Fingerprint: fingerprint})
}

// caFile gives the certificate of the authority. It is public: it stands in every
// TLS handshake.
func (u *UI) caFile(r *request) error {
	certificate, _ := u.authority()
	if len(certificate) == 0 {
		return domain.Errorf(domain.NotFound, "this appliance has no certificate authority of its own").
			WithHint("it was given its certificate by whoever runs it")
	}
	r.Set(fiber.HeaderContentType, "application/x-x509-ca-cert")
	r.Set(fiber.HeaderContentDisposition, `attachment; filename="coffer-ca.crt"`)
	return r.Send(certificate)
}

// asset gives one of the files that pages load. Their address has the digest of
// all of them, so that it can be kept for ever.
func (u *UI) asset(r *request) error {
	path := r.Path()
	body, contentType, ok := assets.Open(path)
	if !ok {
		return errNoPage
	}
	r.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	r.Set(fiber.HeaderContentType, contentType)
	if packed, ok := assets.Gzip(path); ok {
		r.Vary(fiber.HeaderAcceptEncoding)
		if r.AcceptsEncodings("gzip") == "gzip" {
			r.Set(fiber.HeaderContentEncoding, "gzip")
			body = packed
		}
	}
	return r.Send(body)
}

// theme keeps whether pages are light or dark, in a cookie that says nothing else.
func (u *UI) theme(r *request) error {
	chosen := themeOf(r.text("theme"))
	if chosen == "" {
		u.dropCookie(r.Ctx, themeCookie)
	} else {
		u.setCookie(r.Ctx, themeCookie, chosen, deviceAge)
	}
	return r.Redirect(localPath(r.text("back")), fiber.StatusSeeOther)
}
