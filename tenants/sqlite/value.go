package sqlite

import (
	"fmt"
	"math"
)

// Type is one of SQLite's five storage classes
// (https://www.sqlite.org/datatype3.html).
type Type uint8

// The storage classes. The zero Type is Null.
const (
	TypeNull Type = iota
	TypeInteger
	TypeFloat
	TypeText
	TypeBlob
)

// String is the name that SQLite's typeof() gives.
func (t Type) String() string {
	switch t {
	case TypeInteger:
		return "integer"
	case TypeFloat:
		return "real"
	case TypeText:
		return "text"
	case TypeBlob:
		return "blob"
	default:
		return "null"
	}
}

// Value is one value as SQLite stores it. The zero Value is NULL. A Value is
// immutable and may be kept: it shares no memory with a statement.
type Value struct {
	s string // text, or the bytes of a blob
	n uint64 // an integer, or the bits of a float
	t Type
}

// Int makes an integer.
func Int(i int64) Value { return Value{t: TypeInteger, n: uint64(i)} }

// Float makes a float. SQLite stores NaN as NULL.
func Float(f float64) Value { return Value{t: TypeFloat, n: math.Float64bits(f)} }

// Text makes a text of the bytes of s, which need not be valid UTF-8.
func Text(s string) Value { return Value{t: TypeText, s: s} }

// Blob makes a blob of a copy of b. Nil makes an empty blob, not NULL.
func Blob(b []byte) Value { return Value{t: TypeBlob, s: string(b)} }

// Type is the storage class.
func (v Value) Type() Type { return v.t }

// IsNull reports whether the value is NULL.
func (v Value) IsNull() bool { return v.t == TypeNull }

// Int64 is the integer, or 0 if the value is of another class.
func (v Value) Int64() int64 {
	if v.t != TypeInteger {
		return 0
	}
	return int64(v.n)
}

// Float64 is the float, or 0 if the value is of another class.
func (v Value) Float64() float64 {
	if v.t != TypeFloat {
		return 0
	}
	return math.Float64frombits(v.n)
}

// Raw is the exact bytes of a text or a blob without copying them, "" for the
// other classes.
func (v Value) Raw() string { return v.s }

// Bytes is a copy of the exact bytes of a text or a blob, nil for the other
// classes.
func (v Value) Bytes() []byte {
	if v.t != TypeText && v.t != TypeBlob {
		return nil
	}
	return []byte(v.s)
}

// Size is the number of bytes of a text or a blob, 8 for a number, 0 for NULL.
func (v Value) Size() int {
	switch v.t {
	case TypeNull:
		return 0
	case TypeInteger, TypeFloat:
		return 8
	default:
		return len(v.s)
	}
}

// Equal reports whether both values have the same class and the same bits.
func (v Value) Equal(o Value) bool { return v == o }

// String shows the value as an SQL literal, for tests and debugging. Values of
// tenants do not belong in messages.
func (v Value) String() string {
	switch v.t {
	case TypeInteger:
		return fmt.Sprint(v.Int64())
	case TypeFloat:
		return fmt.Sprint(v.Float64())
	case TypeText:
		return fmt.Sprintf("%q", v.s)
	case TypeBlob:
		return fmt.Sprintf("x'%x'", v.s)
	default:
		return "NULL"
	}
}
