/** `currentBuild`: what the sandbox lets a Jenkinsfile see of it, as far as it is used. */
class CurrentBuild {
    private final Build build

    CurrentBuild(Build build) { this.build = build }

    String getCurrentResult() { build.result }

    int getNumber() { build.config.number as int }

    long getStartTimeInMillis() { build.config.started as long }
}
