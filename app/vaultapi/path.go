package vaultapi

import (
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
)

// Prefix begins every path of the surface.
const prefix = "/v1/"

// MethodList is the method of its own with which some clients list.
const MethodList = "LIST"

// methods are those that clients send.
var methods = []string{
	fiber.MethodGet, fiber.MethodHead, fiber.MethodPost, fiber.MethodPut, fiber.MethodPatch, fiber.MethodDelete, MethodList,
}

// op is what is asked for at a path.
type op string

// The operations. POST and PUT are the same; LIST is GET with ?list=true.
const (
	opRead   op = "read"
	opList   op = "list"
	opWrite  op = "write"
	opPatch  op = "patch"
	opDelete op = "delete"
)

// operationOf is the operation of a request.
func operationOf(method string, list bool) op {
	switch method {
	case MethodList:
		return opList
	case fiber.MethodPost, fiber.MethodPut:
		return opWrite
	case fiber.MethodPatch:
		return opPatch
	case fiber.MethodDelete:
		return opDelete
	}
	if list {
		return opList
	}
	return opRead
}

// maxSegments bounds a path.
const maxSegments = 64

// split gives the canonical segments of a path after the prefix, decoded once, and
// whether a slash ended it. What package httpd let through holds no empty segment,
// no "." or "..", and no encoded slash or control character; the values that are
// authorized are these, and no handler sees another form of them.
func split(path string) (segments []string, slash bool, err error) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok || rest == "" {
		return nil, false, noRoute(path)
	}
	rest, slash = strings.CutSuffix(rest, "/")
	segments = strings.Split(rest, "/")
	if len(segments) > maxSegments {
		return nil, false, domain.Fieldf("path", "the path has more than %d parts", maxSegments)
	}
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil || decoded == "" {
			return nil, false, domain.Fieldf("path", "the path is malformed")
		}
		segments[i] = decoded
	}
	return segments, slash, nil
}
