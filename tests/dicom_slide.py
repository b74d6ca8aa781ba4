"""Writes a tiled slide as a DICOM series, a file a level; JPEG tiles are copied as they are."""

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

UID = "1.2.826.0.1.3680043.8.498.{}"  # pydicom's, which is for examples


def write_level(path, frames, size_px, tile_px, mpp, series=1, number=1, colour="YBR_FULL_422", base=True):
    """One file of a series.

    Args:
        path: where to.
        frames: of its tiles in rows, bytes of JPEG each; None: left out, with their number in the header.
        size_px: width and height of the level.
        tile_px: side of a tile.
        mpp: micrometres per pixel along x and y.
        series: which series it is of.
        number: of the level.
        colour: photometric interpretation; "RGB" where the JPEG's components are.
        base: whether it is the level that was scanned.
    """
    level = Dataset()
    level.file_meta = FileMetaDataset()
    level.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    level.file_meta.MediaStorageSOPClassUID = level.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    level.file_meta.MediaStorageSOPInstanceUID = level.SOPInstanceUID = UID.format(f"{series}.{number}")
    level.StudyInstanceUID, level.SeriesInstanceUID = UID.format("9"), UID.format(str(series))
    level.Modality, level.SeriesNumber, level.InstanceNumber = "SM", 1, number
    level.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    if not base:
        level.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    level.DimensionOrganizationType = "TILED_FULL"
    level.Rows = level.Columns = tile_px
    level.TotalPixelMatrixColumns, level.TotalPixelMatrixRows = size_px
    level.TotalPixelMatrixFocalPlanes = level.NumberOfOpticalPaths = 1
    level.NumberOfFrames = len(frames)
    level.SamplesPerPixel, level.PhotometricInterpretation, level.PlanarConfiguration = 3, colour, 0
    level.BitsAllocated = level.BitsStored = 8
    level.HighBit, level.PixelRepresentation = 7, 0
    level.LossyImageCompression = "01"
    measures, functions = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [mpp[1] / 1000, mpp[0] / 1000], 0.001  # rows, columns
    functions.PixelMeasuresSequence = [measures]
    level.SharedFunctionalGroupsSequence = [functions]
    level.PixelData = encapsulate([f for f in frames if f is not None])
    level["PixelData"].VR = "OB"
    level["PixelData"].is_undefined_length = True
    level.save_as(path, enforce_file_format=True)
