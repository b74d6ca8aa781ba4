import csv
import io

from mhkd.tables import csv_text, markdown_head, markdown_row

HEADER, ROW = ("slide", "=class"), ('=HYPERLINK("x")', "+1", "-a", "@b", "\tc", "a=b", "é", -1.5, None, "")


def test_a_spreadsheet_opens_it_as_text_in_utf8():
    content = csv_text(HEADER, [ROW]).encode()
    assert content.startswith(b"\xef\xbb\xbfslide,")  # the mark by which Excel knows UTF-8
    header, row = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    assert header == ["slide", "'=class"]
    assert row == ['\'=HYPERLINK("x")', "'+1", "'-a", "'@b", "'\tc", "a=b", "é", "-1.5", "", ""]


def test_a_name_does_not_end_a_cell_of_markdown():
    assert markdown_head("", "grade 1|2") == ["| | grade 1\\|2 |", "|---|---:|"]
    assert markdown_row("a\nb ", "", "1.5") == "| a b | | 1.5 |"
