"""Where the elements of a well-formed little-endian DICOM data set are: found in microseconds a file."""

cdef enum:
    DEEP = 40  # sequences within sequences

cdef unsigned int UNDEFINED = 0xFFFFFFFFu
cdef unsigned int ITEM = 0xFFFEE000u
cdef unsigned int ITEM_END = 0xFFFEE00Du
cdef unsigned int SEQUENCE_END = 0xFFFEE0DDu
cdef unsigned int PIXELS = 0x7FE00008u


cdef inline unsigned int u16(const unsigned char *at) noexcept nogil:
    return at[0] | (<unsigned int> at[1]) << 8


cdef inline unsigned int u32(const unsigned char *at) noexcept nogil:
    return u16(at) | u16(at + 2) << 16


cdef inline unsigned int tag_at(const unsigned char *at) noexcept nogil:
    return u16(at) << 16 | u16(at + 2)


cdef inline bint is_long(const unsigned char *vr) noexcept nogil:
    """Whether an explicit VR has a length of four bytes behind two that are reserved."""
    if vr[0] == b"O":
        return vr[1] in (b"B", b"D", b"F", b"L", b"V", b"W")
    if vr[0] == b"S":
        return vr[1] in (b"Q", b"V")
    return vr[0] == b"U" and vr[1] in (b"C", b"N", b"R", b"T", b"V")


cdef inline bint is_short(const unsigned char *vr) noexcept nogil:
    """Whether it is one of those with a length of two bytes."""
    cdef unsigned char b = vr[1]
    if vr[0] == b"A":
        return b in (b"E", b"S", b"T")
    if vr[0] == b"D":
        return b in (b"A", b"S", b"T")
    if vr[0] == b"F":
        return b in (b"D", b"L")
    if vr[0] == b"L":
        return b in (b"O", b"T")
    if vr[0] == b"S":
        return b in (b"H", b"L", b"S", b"T")
    if vr[0] == b"U":
        return b in (b"I", b"L", b"S")
    return (vr[0] == b"C" and b == b"S") or (vr[0] == b"I" and b == b"S") or (
        vr[0] == b"P" and b == b"N") or (vr[0] == b"T" and b == b"M")


cdef Py_ssize_t value_of(const unsigned char *data, Py_ssize_t at, Py_ssize_t end, bint implicit,
                         unsigned int *length) noexcept nogil:
    """Where the value of the element at a place begins, and its length; -1 if it is not well-formed."""
    if end - at < 8:
        return -1
    if implicit:
        length[0] = u32(data + at + 4)
        return at + 8
    if is_long(data + at + 4):
        if end - at < 12 or u16(data + at + 6):
            return -1
        length[0] = u32(data + at + 8)
        return at + 12
    if not is_short(data + at + 4):
        return -1
    length[0] = u16(data + at + 6)
    return at + 8


cdef Py_ssize_t behind_items(const unsigned char *data, Py_ssize_t at, Py_ssize_t end, bint implicit,
                             int depth) noexcept nogil:
    """The place of the delimiter of a sequence of undefined length; -1 if it is not well-formed."""
    cdef unsigned int tag, length
    if depth > DEEP:
        return -1
    while end - at >= 8:
        tag, length = tag_at(data + at), u32(data + at + 4)
        if tag == SEQUENCE_END:
            return at if length == 0 else -1
        if tag != ITEM:
            return -1
        at += 8
        if length == UNDEFINED:
            at = behind_item(data, at, end, implicit, depth + 1)
            if at < 0:
                return -1
        elif length > <size_t> (end - at):
            return -1
        else:
            at += length
    return -1


cdef Py_ssize_t behind_item(const unsigned char *data, Py_ssize_t at, Py_ssize_t end, bint implicit,
                            int depth) noexcept nogil:
    """The place behind the delimiter of an item of undefined length; -1 if it is not well-formed."""
    cdef unsigned int length = 0
    cdef Py_ssize_t value
    while end - at >= 8:
        if tag_at(data + at) == ITEM_END:
            return at + 8 if u32(data + at + 4) == 0 else -1
        value = value_of(data, at, end, implicit, &length)
        if value < 0:
            return -1
        if length == UNDEFINED:
            if not implicit and not (data[at + 4] == b"S" and data[at + 5] == b"Q"):
                return -1
            value = behind_items(data, value, end, implicit, depth + 1)
            if value < 0:
                return -1
            at = value + 8
        elif length > <size_t> (end - value):
            return -1
        else:
            at = value + length
    return -1


def find_elements(const unsigned char[::1] content, Py_ssize_t start, bint implicit, frozenset wanted):
    """Look through the top level of a data set up to its pixels.

    Parameters
    ----------
    content : bytes-like
        The file.
    start : int
        Where the data set begins.
    implicit : bool
        Whether VRs are left out.
    wanted : frozenset of int
        The tags to report.

    Returns
    -------
    tuple or None
        A list of (tag, VR or None, offset and length of the value), and the offset of the pixel data's element (the
        file's length without one). None if anything is unusual: then pydicom, which knows every habit, has to look.
    """
    cdef const unsigned char *data
    cdef Py_ssize_t at = start, end = content.shape[0], value, stop
    cdef unsigned int tag, last = 0, length = 0
    cdef list found = []
    if start < 0 or start >= end:
        return None
    data = &content[0]
    while at < end:
        if end - at < 8:
            return None
        tag = tag_at(data + at)
        if tag <= last and at > start:
            return None  # out of order, or twice
        if tag >= PIXELS:
            return found, at
        last = tag
        value = value_of(data, at, end, implicit, &length)
        if value < 0:
            return None
        if length == UNDEFINED:
            if not implicit and not (data[at + 4] == b"S" and data[at + 5] == b"Q"):
                return None
            stop = behind_items(data, value, end, implicit, 0)
            if stop < 0:
                return None
        elif length > <size_t> (end - value):
            return None
        else:
            stop = value + length
        if tag in wanted:
            vr = None if implicit else chr(data[at + 4]) + chr(data[at + 5])
            found.append((tag, vr, value, stop - value))
        at = stop + 8 if length == UNDEFINED else stop
    return found, at
