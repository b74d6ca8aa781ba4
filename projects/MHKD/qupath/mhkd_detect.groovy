/**
 * Finds the glomeruli of the image that is open in QuPath, and adds them as annotations with classes and scores.
 *
 * QuPath 0.4 or newer: Automate > Script editor, open this file, set MHKD and STUDENT, Run; or Run > Run for project.
 * Run again, it goes on where it was stopped, and adds what is not there: what you changed stays as it is, what you
 * deleted comes back.
 */
import qupath.lib.common.GeneralTools
import qupath.lib.io.PathIO
import static qupath.lib.scripting.QP.*

def MHKD = "mhkd"  // the command, with its folder where QuPath does not find it: C:/mhkd/.venv/Scripts/mhkd.exe
def STUDENT = "student.onnx"  // an .onnx file, or the folder of a student
def OUT = new File(System.getProperty("user.home"), "mhkd_found").path  // a folder for each slide

def server = getCurrentServer()
def slide = GeneralTools.toPath(server.getURIs()[0]).toFile()
def command = [MHKD, "detect", slide.path, "--student", STUDENT, "--out", OUT]
def calibration = server.getPixelCalibration()
if (calibration.hasPixelSizeMicrons()) {  // for files that do not record it; mhkd prefers what they record
    command += ["--slide-mpp", calibration.getAveragedPixelSizeMicrons().toString()]
}

def process = new ProcessBuilder(command).redirectErrorStream(true).start()
process.inputStream.eachLine { println it }
if (process.waitFor() != 0) {
    throw new RuntimeException("mhkd detect failed: see the lines above")
}
def found = PathIO.readObjects(new File(OUT, slide.name + "/detections.geojson"))
def known = getAllObjects(false).collect { it.getID() } as Set
def added = found.findAll { !(it.getID() in known) }
addObjects(added)
println "${found.size()} glomeruli, ${added.size()} of them new here"
