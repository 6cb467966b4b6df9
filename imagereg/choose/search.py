"""Where to look next: searches for a root, a minimum and a corner that ask for one value at a time.

Each is a generator that yields a place from 0 to 1, is sent what was found there, and returns the best place.
"""

from __future__ import annotations

import math
from collections.abc import Generator

Search = Generator[float, float, float]

GOLDEN = (3.0 - math.sqrt(5.0)) / 2.0


def root(finest: float, *, close: float, scan: int = 7) -> Search:
    """The last place where a function is zero, by Brent's method; the place nearest to zero without one.

    It walks down from 1 to the first value of the other sign, and closes in. A residual over its
    noise grows with the strength, but rises again at strengths so small that an iteration does not come to
    its end there: a bracket of both ends would be none.

    Parameters
    ----------
    finest : distance below which places need not be told apart.
    close : size of the function's value that counts as zero.
    scan : number of places of the walk, ends included.

    References
    ----------
    R. P. Brent, Algorithms for Minimization without Derivatives, 1973, chapter 4.
    """
    found: dict[float, float] = {}
    b, fb = 1.0, 0.0
    for number in range(scan):
        a = 1.0 - number / (scan - 1)
        fa = found[a] = yield a
        if abs(fa) <= close:
            return a
        if fa * found[1.0] < 0:
            break
        b, fb = a, fa
    if fa * found[1.0] > 0:
        return min(found, key=lambda place: abs(found[place]))
    c, fc, step, before = a, fa, b - a, b - a
    while True:
        if fb * fc > 0:
            c, fc, step, before = a, fa, b - a, b - a
        if abs(fc) < abs(fb):
            a, b, c, fa, fb, fc = b, c, b, fb, fc, fb
        half = 0.5 * (c - b)
        if abs(half) <= finest / 2 or abs(fb) <= close:
            return b
        if abs(before) >= finest and abs(fa) > abs(fb):
            s = fb / fa
            if a == c:
                p, q = 2 * half * s, 1 - s
            else:
                q, r = fa / fc, fb / fc
                p = s * (2 * half * q * (q - r) - (b - a) * (r - 1))
                q = (q - 1) * (r - 1) * (s - 1)
            p, q = (p, -q) if p > 0 else (-p, q)
            if 2 * p < min(3 * half * q - abs(finest * q), abs(before * q)):
                before, step = step, p / q
            else:
                step = before = half
        else:
            step = before = half
        a, fa = b, fb
        b += step if abs(step) > finest / 2 else math.copysign(finest / 2, half)
        fb = yield b


def minimum(finest: float, *, scan: int = 7, around: float | None = None) -> Search:
    """A place where a function is least: a scan to bracket it, then golden section with parabolic steps.

    Parameters
    ----------
    finest : distance below which places need not be told apart.
    scan : number of places of the scan, ends included.
    around : scan three places near this one only, where an earlier search has been.

    References
    ----------
    R. P. Brent, Algorithms for Minimization without Derivatives, 1973, chapter 5.
    """
    if around is None:
        places = [i / (scan - 1) for i in range(scan)]
    else:
        places = sorted({max(0.0, around - 0.12), around, min(1.0, around + 0.12)})
    found = {}
    for place in places:
        found[place] = yield place
    best = min(found, key=lambda place: found[place])
    index = places.index(best)
    a, b = places[max(index - 1, 0)], places[min(index + 1, len(places) - 1)]
    x, fx = best, found[best]
    others = sorted((place for place in (a, b) if place != x), key=lambda place: found[place])
    w, fw = others[0], found[others[0]]
    v, fv = others[-1], found[others[-1]]
    step = before = b - a
    while True:
        middle, tight = 0.5 * (a + b), finest / 2
        if abs(x - middle) <= 2 * tight - 0.5 * (b - a) or b - a <= 2 * finest:
            return x
        golden = True
        if abs(before) > tight and len({x, w, v}) == 3:
            r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
            p, q = (x - v) * q - (x - w) * r, 2 * (q - r)
            p, q = (-p, q) if q > 0 else (p, -q)
            if abs(p) < abs(0.5 * q * before) and q * (a - x) < p < q * (b - x):
                before, step = step, p / q
                golden = False
        if golden:
            before = (a - x) if x >= middle else (b - x)
            step = GOLDEN * before
        u = x + (step if abs(step) >= tight else math.copysign(tight, step))
        u = min(max(u, a), b)
        fu = yield u
        if fu <= fx:
            a, b = (a, x) if u < x else (x, b)
            v, fv, w, fw, x, fx = w, fw, x, fx, u, fu
        else:
            a, b = (u, b) if u < x else (a, u)
            if fu <= fw or w == x:
                v, fv, w, fw = w, fw, u, fu
            elif fu <= fv or v in (x, w):
                v, fv = u, fu


def corner(finest: float, *, scan: int = 9) -> Generator[float, tuple[float, float], float]:
    """The place where a curve (log residual, log penalty) bends most: a scan, then halves around the best.

    Bending is measured by the circle through neighbouring points (Menger curvature), positive where the
    curve is convex as an L is. A. Cultrera, L. Callegaro, IOP SciNotes 1 (2020), doi
    10.1088/2633-1357/abad0d.

    Parameters
    ----------
    finest : distance below which places need not be told apart.
    scan : number of places of the scan.
    """
    points: dict[float, tuple[float, float]] = {}
    for i in range(scan):
        points[i / (scan - 1)] = yield i / (scan - 1)
    while True:
        places = sorted(points)
        best = sharpest(points)
        index = places.index(best)
        a, b = places[index - 1], places[index + 1]
        # Twice the usual distance: closer points would measure how well each run converged.
        if b - a <= 4 * finest:
            return best
        for place in (0.5 * (a + best), 0.5 * (best + b)):
            points[place] = yield place


def sharpest(points: dict[float, tuple[float, float]]) -> float:
    """The inner place whose circle with its neighbours has the largest curvature."""
    places = sorted(points)
    inner = range(1, len(places) - 1)
    curvature = {places[i]: menger(*(points[places[i + k]] for k in (-1, 0, 1))) for i in inner}
    return max(curvature, key=lambda place: curvature[place])


def menger(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
    """Signed curvature of the circle through three points; positive for a turn to the left."""
    area = (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
    lengths = math.dist(p, q) * math.dist(q, r) * math.dist(p, r)
    return 0.0 if lengths == 0 else 2.0 * area / lengths
