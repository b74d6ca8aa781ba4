import csv
import io

from mhkd.tables import csv_text

HEADER, ROW = ("slide", "=class"), ('=HYPERLINK("x")', "+1", "-a", "@b", "\tc", "a=b", "é", -1.5, None, "")


def test_a_spreadsheet_opens_it_as_text_in_utf8():
    content = csv_text(HEADER, [ROW]).encode()
    assert content.startswith(b"\xef\xbb\xbfslide,")  # the mark by which Excel knows UTF-8
    header, row = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    assert header == ["slide", "'=class"]
    assert row == ['\'=HYPERLINK("x")', "'+1", "'-a", "'@b", "'\tc", "a=b", "é", "-1.5", "", ""]
